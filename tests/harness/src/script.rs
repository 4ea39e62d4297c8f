//! Scripts: manifests in, dumps of the maps out, on any maps.
//!
//! A line that starts with `> ` is a step, the lines after it are its text. The text of `dump` and
//! `outcome` is what is expected, and what `SEAWAY_BLESS=1` writes anew.
//!
//! | step | does |
//! |---|---|
//! | `limits services=1 backends=2 slots=4 frontends=1` | makes maps of these sizes; first, if at all |
//! | `apply NAME` | puts the manifest NAME with the text, and hands over the facts of all manifests |
//! | `delete NAME` | removes that manifest, and hands over the facts |
//! | `nothing` | hands over a snapshot without any object |
//! | `audit` | compares the maps with the model |
//! | `restart` | starts again from the maps, with the same facts |
//! | `fail N` | lets one map operation in N fail from now on; 0 is none |
//! | `wait N` | lets N milliseconds pass, and tries again what is due |
//! | `outcome` | shows what came of the steps since the last one |
//! | `dump` | shows the maps |

use std::{collections::BTreeMap, env, fs, path::Path, sync::Arc};

use seaway_cluster::Snapshot;
use seaway_common::Capacities;
use seaway_dataplane::{
    Maps,
    sync::{Event, Outcome, Sync},
};

use crate::{Contents, Faults, FaultyMaps, MemoryMaps};

/// The node on which scripts run.
const NODE: &str = "node-1";
/// More retries than one call in two failing needs.
const RETRIES_MAX: usize = 10_000;

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    head: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    command: String,
    text: String,
}

struct Run<M, O> {
    open: O,
    sync: Sync<FaultyMaps<M>>,
    manifests: BTreeMap<String, String>,
    facts: Arc<Snapshot>,
    faults: Faults,
    now_ms: u64,
    outcomes: Vec<String>,
}

impl Script {
    /// Reads the script in `path`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut script = Self { head: String::new(), steps: Vec::new() };
        for line in text.lines() {
            match (line.strip_prefix("> "), script.steps.last_mut()) {
                (Some(command), _) => {
                    script.steps.push(Step { command: command.to_owned(), text: String::new() });
                }
                (None, Some(step)) => step.text += &format!("{line}\n"),
                (None, None) => script.head += &format!("{line}\n"),
            }
        }
        script
    }

    /// How much the maps have to hold.
    ///
    /// # Panics
    /// When a limit is not one.
    #[must_use]
    pub fn capacities(&self) -> Capacities {
        let mut capacities = MemoryMaps::CAPACITIES;
        let limits = self.steps.first().and_then(|step| step.command.strip_prefix("limits "));
        for (name, value) in
            limits.iter().flat_map(|line| line.split(' ')).filter_map(|pair| pair.split_once('='))
        {
            let value = value.parse().unwrap_or_else(|error| panic!("limit {name}: {error}"));
            match name {
                "frontends" => capacities.frontends = value,
                "services" => capacities.services = value,
                "backends" => capacities.backends = value,
                "slots" => capacities.slots = value,
                _ => panic!("there is no limit {name}"),
            }
        }
        capacities
    }

    /// Runs the script on the maps that `open` returns, now and after every restart, and returns
    /// it with what came out.
    ///
    /// # Panics
    /// When a step is not one, a manifest is unsound, or a failure does not go away.
    pub fn run<M: Maps>(&self, open: impl FnMut() -> M) -> String {
        let mut run = Run::new(open);
        let mut output = self.head.clone();
        for Step { command, text } in &self.steps {
            let shown = run.step(command, text).unwrap_or_else(|| text.clone());
            output += &format!("> {command}\n{shown}");
        }
        output
    }
}

impl<M: Maps, O: FnMut() -> M> Run<M, O> {
    fn new(mut open: O) -> Self {
        let sync = start(&mut open, Faults::None);
        let (manifests, facts) = Default::default();
        Self { open, sync, manifests, facts, faults: Faults::None, now_ms: 0, outcomes: Vec::new() }
    }

    /// What the step shows, if it shows anything.
    fn step(&mut self, command: &str, text: &str) -> Option<String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("limits", _) => {}
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

/// Compares a blessed file with what came out; with `SEAWAY_BLESS=1`, replaces it.
///
/// # Panics
/// When they differ.
pub fn bless(path: &Path, actual: &str) {
    if env::var_os("SEAWAY_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return;
    }
    let at = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.lines().skip(at).take(12).collect::<Vec<_>>().join("\n");
    panic!(
        "{}, line {}: expected\n{}\nfound\n{}\nIf that is right, run the test with SEAWAY_BLESS=1.",
        path.display(),
        at + 1,
        from(&expected),
        from(actual)
    );
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
