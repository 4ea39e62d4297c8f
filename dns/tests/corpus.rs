//! Everything that the fuzzers have been given or have found, checked anew: no fuzzer is needed for that.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/properties/corefile.rs"]
mod any_corefile;
#[path = "../../fuzz/properties/packet.rs"]
mod any_packet;

fn replay(folder: &str, check: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{} has {} files", dir.display(), files.len());
    for file in files {
        println!("{}", file.display());
        let octets = fs::read(&file).unwrap();
        check(&octets);
        // Cut anywhere, and with any one octet turned over, it is an input as well.
        for place in 0..octets.len().min(600) {
            check(&octets[..place]);
            let mut turned = octets.clone();
            turned[place] = !turned[place];
            check(&turned);
        }
    }
}

#[test]
fn packets_of_the_corpus_are_answered_soundly() {
    replay("packet", any_packet::check);
}

#[test]
fn corefiles_of_the_corpus_are_refused_or_served() {
    replay("corefile", any_corefile::check);
}
