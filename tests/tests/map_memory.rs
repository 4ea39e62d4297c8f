//! How much memory the maps take.

#![forbid(unsafe_code)]

use std::{fs, path::PathBuf, process};

use seaway_common::{Capacities, MapName};
use seaway_dataplane::{probe::Probe, programs::Programs, usage};
use seaway_harness::privileged;
use seaway_lab::bpffs;

const CPUS: u64 = 64;
const MOST: u64 = 128_000_000;
/// Those that have a copy for each CPU.
const PER_CPU: [MapName; 3] = [MapName::CounterCells, MapName::Reasons, MapName::FlowCounts];

struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn maps_of_a_node_with_64_cpus_take_less_than_128_mb() {
    privileged!();
    let pins = Pins(bpffs().join(format!("seaway-test-memory-{}", process::id())));
    fs::create_dir(&pins.0).unwrap();
    let _programs = Programs::load(&Probe::run().unwrap(), &Capacities::DEFAULT, Some(&pins.0)).unwrap();
    let here = aya::util::nr_cpus().unwrap() as u64;
    let mut total = 0;
    for map in MapName::ALL {
        let bytes = usage::bytes(&pins.0, *map).unwrap();
        // An empty trie takes nothing.
        assert!(bytes != 0 || *map == MapName::SourceRanges, "{}", map.as_str());
        let there = if PER_CPU.contains(map) { bytes / here * CPUS } else { bytes };
        println!("{} {there}", map.as_str());
        total += there;
    }
    println!("total {total}");
    assert!(total < MOST, "{total} bytes");
}
