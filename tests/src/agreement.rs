//! Whether maps show what is desired.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use seaway_cluster::Snapshot;
use seaway_common::ServiceValue;
use seaway_dataplane::{
    Desired, Maps, Target,
    sync::{Event, Outcome, Sync},
};
use seaway_harness::{Contents, Destination, Faults, FaultyMaps, Frontend, MemoryMaps, options};

use crate::facts::NODE;

/// A sync loop on maps in memory.
pub type MemorySync = Sync<FaultyMaps<MemoryMaps>>;

/// More than any test needs.
const RETRIES_MAX: usize = 10_000;

/// What maps should hold, straight from the decisions, without a plan.
pub fn contents_of(snapshot: &Snapshot) -> Contents {
    let desired = Desired::of(snapshot, NODE);
    let mut contents = Contents::default();
    for key in desired.keys() {
        let Some(port) = desired.port(key) else { continue };
        let list = |targets: &[Target]| targets.iter().map(destination).collect::<Vec<_>>();
        let (cluster, local) = (list(&port.cluster), list(&port.local));
        for claim in desired.frontends(key, port) {
            let value = ServiceValue {
                flags: port.flags_of(claim).unwrap(),
                affinity_s: port.affinity_s,
                ..ServiceValue::default()
            };
            let (cluster, local) = (cluster.clone(), local.clone());
            let frontend = Frontend { name: key.to_string(), options: options(&value), cluster, local };
            contents.frontends.insert(*claim, frontend);
            contents.addresses.extend(desired.address(&claim.addr).map(|bits| (claim.addr, bits)));
        }
    }
    contents
}

/// What maps hold.
///
/// # Panics
/// When they fail.
pub fn contents(maps: &impl Maps) -> Contents {
    Contents::read(maps).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts from what the maps hold, as often as it takes.
///
/// # Panics
/// When it never works.
pub fn start(maps: &MemoryMaps, faults: Faults) -> MemorySync {
    let attempt = |attempt| {
        let faults = match faults {
            Faults::OneIn { every, seed } => Faults::OneIn { every, seed: seed.wrapping_add(attempt) },
            other => other,
        };
        Sync::new(FaultyMaps::new(maps.clone(), faults), NODE).ok()
    };
    (0..RETRIES_MAX as u64).find_map(attempt).expect("maps that can be read now and then")
}

/// Hands over facts, and retries until nothing fails.
pub fn settle(sync: &mut MemorySync, facts: &Arc<Snapshot>, now_ms: &mut u64) -> Outcome {
    let outcome = sync.handle(Event::Facts(Arc::clone(facts)), *now_ms);
    retry(sync, outcome, now_ms)
}

/// Retries until nothing fails.
///
/// # Panics
/// When something always fails.
pub fn retry(sync: &mut MemorySync, mut outcome: Outcome, now_ms: &mut u64) -> Outcome {
    for _ in 0..RETRIES_MAX {
        if outcome.error.is_none() {
            return outcome;
        }
        let wait = outcome.retry_in.expect("a failure says when to try again");
        *now_ms += u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        outcome = sync.handle(Event::Retry, *now_ms);
    }
    panic!("still failing after {RETRIES_MAX} retries: {outcome:?}");
}

fn destination(target: &Target) -> Destination {
    Destination::Backend(SocketAddr::new(IpAddr::from(target.addr), target.port.get()), target.local)
}
