//! Traffic stays whole at every step of a change, also when the process dies there.

#![forbid(unsafe_code)]

use std::sync::Arc;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use seaway_cluster::Snapshot;
use seaway_dataplane::{
    kernel_maps::KernelMaps,
    probe::Probe,
    programs::Programs,
    sync::{Event, Sync},
};
use seaway_harness::{Contents, Destination, Faults, FaultyMaps, MemoryMaps, privileged};
use seaway_tests::{
    agreement::{contents, contents_of, settle, start},
    facts::{NODE, facts, snapshot},
};

/// Slices that were freed are given out again after this time.
const HELD_BACK_MS: u64 = 3000;
/// Agents that die on kernel maps, at least.
const DEATHS_MIN: usize = 200;

/// A frontend that is there before and after is there at every step, and leads only to what was a
/// candidate before or is one after: no hole, nothing of another service.
fn check_step(step: &Contents, before: &Contents, after: &Contents) -> Result<(), TestCaseError> {
    for (key, old) in &before.frontends {
        let Some(new) = after.frontends.get(key) else { continue };
        let now = step.frontends.get(key);
        prop_assert!(now.is_some(), "{key:?} is gone:\n{step}");
        let lists =
            now.map(|now| [(&now.cluster, &old.cluster, &new.cluster), (&now.local, &old.local, &new.local)]);
        for (now, old, new) in lists.into_iter().flatten() {
            // Whether a destination is on this node may be told early.
            let address = |destination: &Destination| match destination {
                Destination::Backend(address, _) => Some(*address),
                Destination::Dangling => None,
            };
            let known: Vec<_> = old.iter().chain(new).map(address).collect();
            for destination in now {
                prop_assert!(address(destination).is_some(), "{key:?} leads to a hole:\n{step}");
                prop_assert!(
                    known.contains(&address(destination)),
                    "{key:?} leads to {destination}:\n{step}"
                );
            }
            prop_assert!(
                !now.is_empty() || old.is_empty() || new.is_empty(),
                "{key:?} leads nowhere:\n{step}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_leads_to_old_or_new_backends(before in facts(), after in facts()) {
        let (before, after) = (snapshot(&before), snapshot(&after));
        let (old, new) = (contents_of(&before), contents_of(&after));
        let (maps, mut now_ms) = (MemoryMaps::default(), 0);
        settle(&mut start(&maps, Faults::None), &before, &mut now_ms);
        for restart in [false, true] {
            let maps = maps.copy();
            let watched = FaultyMaps::new(maps.clone(), Faults::None).with_history();
            let mut sync = Sync::new(watched, NODE).unwrap();
            if !restart {
                settle(&mut sync, &before, &mut now_ms);
                prop_assert_eq!(sync.maps().writes(), 0);
            }
            settle(&mut sync, &after, &mut now_ms);
            for step in sync.maps().history() {
                check_step(step, &old, &new)?;
            }
        }
    }

    /// Killed after any number of writes, the next agent finds its way, and nothing is lost on it.
    #[test]
    fn death_at_any_step_is_recovered_from(before in facts(), after in facts()) {
        let (before, after) = (snapshot(&before), snapshot(&after));
        let (old, new) = (contents_of(&before), contents_of(&after));
        let (settled, mut now_ms) = (MemoryMaps::default(), 0);
        settle(&mut start(&settled, Faults::None), &before, &mut now_ms);
        for step in 0.. {
            let maps = settled.copy();
            let mut sync = start(&maps, Faults::None);
            settle(&mut sync, &before, &mut now_ms);
            sync.maps().set_faults(Faults::AfterWrites(step));
            let outcome = sync.handle(seaway_dataplane::sync::Event::Facts(after.clone()), now_ms);
            let survived = outcome.error.is_none();
            let watched = FaultyMaps::new(maps.clone(), Faults::None).with_history();
            let mut sync = Sync::new(watched, NODE).unwrap();
            settle(&mut sync, &after, &mut now_ms);
            prop_assert_eq!(&contents(&maps), &new, "killed after {} writes", step);
            for contents in sync.maps().history() {
                check_step(contents, &old, &new)?;
            }
            if survived {
                break;
            }
        }
    }
}

/// The same on the kernel's own maps: whatever a SIGKILL leaves behind, the next start repairs it, and
/// nothing that it shows on the way leads astray.
#[test]
fn row_26_death_at_any_step_is_repaired_on_kernel_maps() {
    privileged!();
    let programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
    let open = || FaultyMaps::new(programs.maps().unwrap(), Faults::None);
    let mut now_ms = 0;
    let mut handle = |sync: &mut Sync<FaultyMaps<KernelMaps>>, facts: &Arc<Snapshot>| {
        now_ms += HELD_BACK_MS;
        sync.handle(Event::Facts(Arc::clone(facts)), now_ms)
    };
    let mut runner = TestRunner::deterministic();
    let mut deaths = 0;
    while deaths < DEATHS_MIN {
        let [before, after] = [(); 2].map(|()| snapshot(&facts().new_tree(&mut runner).unwrap().current()));
        let (old, new) = (contents_of(&before), contents_of(&after));
        for step in 0.. {
            let mut dying = Sync::new(open(), NODE).unwrap();
            handle(&mut dying, &before);
            let settled = dying.maps().writes();
            dying.maps().set_faults(Faults::AfterWrites(settled + step));
            let survived = handle(&mut dying, &after).error.is_none();
            drop(dying);
            let mut next = Sync::new(open().with_history(), NODE).unwrap();
            assert!(handle(&mut next, &after).error.is_none());
            assert_eq!(contents(next.maps().inner()), new, "killed after {step} writes");
            for step in next.maps().history() {
                check_step(step, &old, &new).unwrap();
            }
            if survived {
                break;
            }
            deaths += 1;
        }
    }
}
