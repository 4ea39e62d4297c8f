//! `apply(plan) == desired`, from any state, with failing operations and dying processes.

#![forbid(unsafe_code)]

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use seaway_dataplane::sync::Event;
use seaway_harness::{Faults, MemoryMaps};
use seaway_tests::{
    agreement::{contents, contents_of, retry, settle, start},
    damage::damage,
    facts::{facts, snapshot},
};

/// One call in ten fails.
fn faults(seed: u64) -> Faults {
    Faults::OneIn { every: 10, seed }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// From the state of other facts, damaged, seen by a running or a restarted agent.
    #[test]
    fn maps_become_what_is_desired(
        before in facts(), after in facts(), damage in vec(damage(), 0..6), restart: bool, seed: u64,
    ) {
        let (before, after) = (snapshot(&before), snapshot(&after));
        let (maps, mut now_ms) = (MemoryMaps::default(), 0);
        let mut sync = start(&maps, Faults::None);
        settle(&mut sync, &before, &mut now_ms);
        prop_assert_eq!(contents(&maps), contents_of(&before));
        damage.iter().for_each(|damage| damage.inflict(&maps));
        if restart {
            sync = start(&maps, faults(seed));
        } else {
            sync.maps().set_faults(faults(seed));
        }
        let mut outcome = settle(&mut sync, &after, &mut now_ms);
        if !restart {
            // Nothing tells a running agent of the damage but an audit.
            let audit = sync.handle(Event::Audit, now_ms);
            outcome = retry(&mut sync, audit, &mut now_ms);
        }
        prop_assert!(outcome.full.is_empty() && outcome.retry_in.is_none(), "{:?}", outcome);
        prop_assert_eq!(contents(&maps), contents_of(&after), "\n{}\nis not\n{}", contents(&maps), contents_of(&after));
    }

    /// Facts that follow each other without waiting for retries: as long as something is not as it
    /// should be, the loop is told to come back.
    #[test]
    fn failed_change_is_not_forgotten_over_the_next(
        sequence in vec(facts(), 1..6), seed: u64,
    ) {
        let (maps, mut now_ms) = (MemoryMaps::default(), 0);
        let mut sync = start(&maps, faults(seed));
        for facts in &sequence {
            let facts = snapshot(facts);
            let outcome = sync.handle(Event::Facts(Arc::clone(&facts)), now_ms);
            if outcome.retry_in.is_none() {
                prop_assert_eq!(contents(&maps), contents_of(&facts));
            }
            now_ms += 10;
        }
        let last = snapshot(sequence.last().unwrap());
        let outcome = sync.handle(Event::Retry, now_ms);
        retry(&mut sync, outcome, &mut now_ms);
        prop_assert_eq!(contents(&maps), contents_of(&last));
    }

    /// Facts that do not change cause no map operation, nor does a restart.
    #[test]
    fn unchanged_facts_write_nothing(before in facts(), now in facts()) {
        let (before, now) = (snapshot(&before), snapshot(&now));
        let (maps, mut now_ms) = (MemoryMaps::default(), 0);
        let mut sync = start(&maps, Faults::None);
        settle(&mut sync, &before, &mut now_ms);
        settle(&mut sync, &now, &mut now_ms);
        let writes = sync.maps().writes();
        settle(&mut sync, &now, &mut now_ms);
        // The same facts, read anew: no object is shared with the last snapshot.
        settle(&mut sync, &Arc::new((*now).clone()), &mut now_ms);
        for event in [Event::Audit, Event::Retry, Event::Stop] {
            sync.handle(event, now_ms);
        }
        prop_assert_eq!(sync.maps().writes(), writes);
        let mut restarted = start(&maps, Faults::None);
        settle(&mut restarted, &now, &mut now_ms);
        prop_assert_eq!(restarted.maps().writes(), 0);
    }

    /// An empty snapshot deletes nothing, first or later.
    #[test]
    fn snapshot_without_any_object_is_not_believed(before in facts()) {
        let before = snapshot(&before);
        let (maps, mut now_ms) = (MemoryMaps::default(), 0);
        let mut sync = start(&maps, Faults::None);
        settle(&mut sync, &before, &mut now_ms);
        let writes = sync.maps().writes();
        for sync in [&mut sync, &mut start(&maps, Faults::None)] {
            let outcome = sync.handle(Event::Facts(Arc::default()), now_ms);
            prop_assert!(outcome.ignored_empty && outcome.error.is_none());
        }
        prop_assert_eq!(sync.maps().writes(), writes);
        prop_assert_eq!(contents(&maps), contents_of(&before));
    }
}
