//! Scripts in `data/scripts`, on maps in memory and on the kernel's.

#![forbid(unsafe_code)]

use std::{fs, path::PathBuf};

use seaway_dataplane::{probe::Probe, programs::Programs};
use seaway_harness::{MemoryMaps, Script, bless, privileged};
use seaway_tests::data;

fn all() -> Vec<(PathBuf, Script)> {
    let mut paths: Vec<_> =
        fs::read_dir(data::path("scripts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(|path| (path.clone(), Script::read(&path))).collect()
}

#[test]
fn scripts_come_out_as_written_on_memory_maps() {
    for (path, script) in all() {
        let maps = MemoryMaps::new(script.capacities());
        bless(&path, &script.run(|| maps.clone()));
    }
}

#[test]
fn scripts_come_out_as_written_on_kernel_maps() {
    privileged!();
    let probe = Probe::run().unwrap();
    for (path, script) in all() {
        let programs = Programs::load(&probe, &script.capacities(), None).unwrap();
        let actual = script.run(|| programs.maps().unwrap());
        assert_eq!(actual, fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}
