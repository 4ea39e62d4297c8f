//! One run of a script.

use std::{collections::BTreeMap, sync::Arc};

use seaway_cluster::Snapshot;
use seaway_dataplane::{
    Maps,
    sync::{Event, Outcome, Sync},
};

use crate::{Contents, Faults, FaultyMaps};

/// The node on which scripts run.
const NODE: &str = "node-1";
/// More retries than one call in two failing needs.
const RETRIES_MAX: usize = 10_000;

/// A sync loop, and what is handed to it.
pub(super) struct Run<M, O> {
    open: O,
    sync: Sync<FaultyMaps<M>>,
    manifests: BTreeMap<String, String>,
    facts: Arc<Snapshot>,
    faults: Faults,
    now_ms: u64,
    outcomes: Vec<String>,
}

impl<M: Maps, O: FnMut() -> M> Run<M, O> {
    pub(super) fn new(mut open: O) -> Self {
        let sync = start(&mut open, Faults::None);
        let (manifests, facts) = Default::default();
        Self { open, sync, manifests, facts, faults: Faults::None, now_ms: 0, outcomes: Vec::new() }
    }

    /// Does a step. Returns what it shows, if it shows anything.
    pub(super) fn step(&mut self, command: &str, text: &str) -> Option<String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("#" | "limits", _) => {}
            ("apply", name) => {
                self.manifests.insert(name.to_owned(), text.to_owned());
                self.hand_over();
            }
            ("delete", name) => {
                assert!(self.manifests.remove(name).is_some(), "there is no manifest {name}");
                self.hand_over();
            }
            ("nothing", "") => self.handle(Event::Facts(Arc::default())),
            ("audit", "") => self.handle(Event::Audit),
            ("restart", "") => {
                self.sync = start(&mut self.open, self.faults);
                self.handle(Event::Facts(Arc::clone(&self.facts)));
            }
            ("fail", every) => {
                let every = every.parse().unwrap_or_else(|error| panic!("fail {every}: {error}"));
                self.faults = if every == 0 { Faults::None } else { Faults::OneIn { every, seed: 1 } };
                self.sync.maps().set_faults(self.faults);
            }
            ("wait", ms) => {
                self.now_ms += ms.parse::<u64>().unwrap_or_else(|error| panic!("wait {ms}: {error}"));
                self.handle(Event::Retry);
            }
            ("outcome", "") => return Some(self.outcomes.drain(..).collect()),
            ("dump", "") => {
                let contents = Contents::read(self.sync.maps().inner());
                return Some(contents.unwrap_or_else(|error| panic!("{error}")).to_string());
            }
            _ => panic!("there is no step {command}"),
        }
        None
    }

    fn hand_over(&mut self) {
        let all: Vec<&str> = self.manifests.values().map(String::as_str).collect();
        let (mut facts, warnings) = Snapshot::from_manifests(&all.join("\n---\n"));
        assert!(warnings.is_empty(), "{warnings:?}");
        facts.share_with(&self.facts);
        self.facts = Arc::new(facts);
        self.handle(Event::Facts(Arc::clone(&self.facts)));
    }

    /// Handles an event, and then retries until nothing fails any more.
    fn handle(&mut self, event: Event) {
        let before = self.sync.maps().writes();
        let mut outcome = self.sync.handle(event, self.now_ms);
        let mut retries = 0;
        while outcome.error.is_some() {
            assert!(retries < RETRIES_MAX, "still failing after {retries} retries: {outcome:?}");
            retries += 1;
            self.now_ms += 1;
            outcome = self.sync.handle(Event::Retry, self.now_ms);
        }
        let writes = self.sync.maps().writes() - before;
        self.outcomes.extend(describe(&outcome, (retries == 0).then_some(writes)));
    }
}

fn start<M: Maps>(open: &mut impl FnMut() -> M, faults: Faults) -> Sync<FaultyMaps<M>> {
    for attempt in 0..RETRIES_MAX as u64 {
        let faults = match faults {
            Faults::OneIn { every, seed } => Faults::OneIn { every, seed: seed + attempt },
            other => other,
        };
        if let Ok(sync) = Sync::new(FaultyMaps::new(open(), faults), NODE) {
            return sync;
        }
    }
    panic!("the maps could not be read {RETRIES_MAX} times");
}

/// The number of writes is told only where no fault added to them.
fn describe(outcome: &Outcome, writes: Option<usize>) -> impl Iterator<Item = String> {
    let ignored = outcome.ignored_empty.then(|| "ignored: no facts\n".to_owned());
    let writes = writes.map(|writes| format!("writes: {writes}\n"));
    let full = outcome.full.iter().map(|full| format!("full: {full}\n"));
    let conflicts = outcome.conflicts.iter().map(|conflict| format!("conflict: {conflict}\n"));
    ignored.into_iter().chain(writes).chain(full).chain(conflicts).collect::<Vec<_>>().into_iter()
}
