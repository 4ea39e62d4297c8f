//! Sequences of packets and events: the fuzzer's corpus, and as many more as a minute allows.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../fuzz/properties/datapath.rs"]
mod property;

/// How long inputs are made at random, in seconds; for hours by hand.
const SECONDS: &str = "SEAWAY_FUZZ_SECONDS";
const SECONDS_DEFAULT: u64 = 20;
/// Inputs are made from this on; another seed where it is set.
const SEED: &str = "SEAWAY_FUZZ_SEED";
const LEN_MAX: u64 = 512;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// The next number of a sequence (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[test]
fn the_corpus_of_the_fuzzer_holds() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/datapath");
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{} has {} files", dir.display(), files.len());
    for file in files {
        println!("{}", file.display());
        property::check(&fs::read(&file).unwrap());
    }
}

/// The input is printed with whatever it breaks: `fuzz/corpus` is the place for it.
#[test]
fn events_at_random_hold() {
    let until = Instant::now() + Duration::from_secs(number(SECONDS, SECONDS_DEFAULT));
    let mut state = number(SEED, 1);
    let mut inputs = 0_u64;
    while Instant::now() < until {
        let len = next(&mut state) % LEN_MAX;
        let octets: Vec<u8> = (0..len).map(|_| next(&mut state).to_le_bytes()[0]).collect();
        if let Err(panic) = std::panic::catch_unwind(|| property::check(&octets)) {
            println!("input {inputs}: {octets:?}");
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    println!("{inputs} inputs");
    assert!(inputs > 0);
}
