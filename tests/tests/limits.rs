//! Full maps: what does not fit is reported and left as it was, the rest goes on.

#![forbid(unsafe_code)]

use std::{collections::BTreeSet, sync::Arc};

use proptest::{collection::vec, prelude::*};
use seaway_cluster::Snapshot;
use seaway_common::Capacities;
use seaway_dataplane::{
    Desired, PortKey,
    space::HOLD_MS,
    sync::{Event, Outcome, Sync},
};
use seaway_harness::{Contents, Destination, Faults, FaultyMaps, MemoryMaps};
use seaway_tests::{
    agreement::{MemorySync, contents, contents_of, settle, start},
    facts::{NODE, facts, snapshot},
};

fn small() -> impl Strategy<Value = Capacities> {
    (1u32..12, 1u32..12, 1u32..24, 1u32..24).prop_map(|(frontends, services, backends, slots)| Capacities {
        frontends,
        services,
        backends,
        slots: 2 * slots,
        ..MemoryMaps::CAPACITIES
    })
}

/// Ports that did not fit.
fn full(outcome: &Outcome) -> BTreeSet<PortKey> {
    outcome.full.iter().map(|full| full.port.clone()).collect()
}

/// Everything that fits is as it should be, and a retry is due for the rest.
fn check(maps: &MemoryMaps, facts: &Snapshot, outcome: &Outcome) -> Result<(), TestCaseError> {
    prop_assert!(outcome.error.is_none(), "{outcome:?}");
    let (desired, full) = (Desired::of(facts, NODE), full(outcome));
    prop_assert_eq!(outcome.retry_in.is_some(), !full.is_empty());
    let (actual, expected) = (contents(maps), contents_of(facts));
    for (frontend, expected) in &expected.frontends {
        if !desired.owner(frontend).is_some_and(|owner| full.contains(owner)) {
            prop_assert_eq!(actual.frontends.get(frontend), Some(expected), "{:?}\n{}", full, actual);
        }
    }
    if full.is_empty() {
        prop_assert_eq!(actual, expected);
    }
    Ok(())
}

fn check_whole(step: &Contents) -> Result<(), TestCaseError> {
    let mut all = step.frontends.values().flat_map(|frontend| frontend.destinations());
    prop_assert!(all.all(|destination| *destination != Destination::Dangling), "{step}");
    Ok(())
}

proptest! {
    /// Whatever does not fit, everything else does its work, nothing leads to a hole at any step,
    /// and space that was given back is found again.
    #[test]
    fn what_fits_is_served(capacities in small(), sequence in vec(facts(), 1..6)) {
        let maps = MemoryMaps::new(capacities);
        let watched = FaultyMaps::new(maps.clone(), Faults::None).with_history();
        let mut sync: MemorySync = Sync::new(watched, NODE).unwrap();
        let mut now_ms = 0;
        for facts in &sequence {
            let facts = snapshot(facts);
            let mut outcome = sync.handle(Event::Facts(Arc::clone(&facts)), now_ms);
            check(&maps, &facts, &outcome)?;
            now_ms += HOLD_MS;
            outcome = sync.handle(Event::Retry, now_ms);
            check(&maps, &facts, &outcome)?;
        }
        for step in sync.maps().history() {
            check_whole(step)?;
        }
        // Nobody wants anything; after a while there is as much room as in new maps.
        settle(&mut sync, &snapshot(&[]), &mut now_ms);
        prop_assert_eq!(contents(&maps), Contents::default());
        now_ms += HOLD_MS;
        let last = snapshot(sequence.last().unwrap());
        let again = settle(&mut sync, &last, &mut now_ms);
        let afresh = settle(&mut start(&MemoryMaps::new(capacities), Faults::None), &last, &mut now_ms);
        prop_assert_eq!(full(&again), full(&afresh));
    }
}
