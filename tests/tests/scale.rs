//! Row 36 of the feature table: a hundred thousand frontends.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use seaway_common::Capacities;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Sync};
use seaway_dataplane::{Maps, Site};
use seaway_harness::{MemoryMaps, privileged};
use seaway_tests::bulk::Bulk;
use seaway_tests::facts::NODE;

/// Ten times as many frontends.
const BULK: Bulk = Bulk { services: 10_000, ports: 10, endpoints: 2 };
const FRONTENDS: usize = 100_000;
const CAPACITIES: Capacities = Capacities {
    frontends: 1 << 17,
    services: 1 << 17,
    backends: 1 << 18,
    slots: 1 << 19,
    ..MemoryMaps::CAPACITIES
};

/// All of them are served, a change of one Service costs little, and a restart writes nothing.
fn check<M: Maps>(open: impl Fn() -> M) {
    let facts = Arc::new(BULK.snapshot());
    let mut sync = Sync::new(open(), Site::from(NODE)).unwrap();
    let outcome = sync.handle(Event::Facts(Arc::clone(&facts)), 0);
    assert!(outcome.error.is_none() && outcome.full.is_empty() && outcome.conflicts.is_empty());
    let frontends = sync.maps().frontends().unwrap();
    assert_eq!(frontends.len(), FRONTENDS);
    // Each has an id, and endpoints, of its own.
    let mut ids: Vec<u32> = frontends.iter().map(|(_, value)| value.service).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), FRONTENDS);
    let last: SocketAddr = "10.96.39.15:89".parse().unwrap();
    let of_last =
        |(key, _): &&(seaway_common::ServiceKey, _)| SocketAddr::new(key.addr.into(), key.port.get()) == last;
    let (_, value) = frontends.iter().find(of_last).expect("the last port of the last Service");
    let backends = sync.maps().backends().unwrap();
    assert_eq!(backends.len(), FRONTENDS * 2);
    let slots = sync.maps().slots(value.cluster).unwrap();
    let ports = slots.iter().filter_map(|id| backends.iter().find(|(known, _)| known == id));
    assert!(ports.clone().all(|(_, backend)| backend.port.get() == 8089) && ports.count() == 2);
    let changed = Arc::new(BULK.one_endpoint_less(&facts, 5000));
    let outcome = sync.handle(Event::Facts(Arc::clone(&changed)), 10_000);
    // For each port: slots, the frontend, the backend that goes, and the clients bound to it.
    assert!(outcome.error.is_none() && outcome.applied <= 50, "{}", outcome.applied);
    drop(sync);
    let mut sync = Sync::new(open(), Site::from(NODE)).unwrap();
    assert_eq!(sync.handle(Event::Facts(changed), 20_000).applied, 0);
}

#[test]
fn row_36_a_hundred_thousand_frontends_fit_into_a_plan() {
    let maps = MemoryMaps::new(CAPACITIES);
    check(|| maps.clone());
}

#[test]
fn row_36_a_hundred_thousand_frontends_fit_into_the_kernels_maps() {
    privileged!();
    let programs = Programs::load(&Probe::run().unwrap(), &CAPACITIES, None).unwrap();
    check(|| programs.maps().unwrap());
}
