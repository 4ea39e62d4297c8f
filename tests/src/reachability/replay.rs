//! One run of one case against a fresh agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use seaway_harness::Agent;
use seaway_lab::probe::ProbeProcess;

use super::{
    cases::{Case, Probe, Step},
    comparison::{Verdict, compare},
    expectations::different,
    facts::Facts,
    observation::Observation,
    probers::{Probers, ask_once},
    site::Site,
};

const MANIFEST: &str = "case.json";
/// Datagrams of a flow before a change, so many that losing one does not hide what was before.
const BEFORE: u32 = 4;
/// Datagrams of a flow after a change is in force.
const AFTER: u32 = 8;
const INTERVAL_MS: u64 = 50;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Replay {
    /// In order of steps and probes.
    pub(crate) results: Vec<Probed>,
    /// What the agent had to say at the end.
    pub(crate) warnings: Vec<String>,
}

/// A probe of a run and what came of it.
#[derive(Debug)]
pub(crate) struct Probed {
    /// The step's number and the probe, in words.
    pub(crate) probe: String,
    pub(crate) verdict: Verdict,
}

/// Replays a case from the start.
///
/// # Panics
/// When the agent does not start, ends, or does not put a change in force.
pub(crate) fn replay(site: &Site, case: &Case) -> Replay {
    let mut facts = Facts::default();
    facts.apply(&case.objects);
    site.setup.write(MANIFEST, &facts.manifest());
    let agent = site.setup.start(site.n1());
    let different = different(&case.id).map(|different| different.outcome);
    let mut run = Run {
        facts,
        agent,
        probers: Probers::new(site),
        picks: BTreeMap::new(),
        different,
        results: Vec::new(),
    };
    for (number, step) in case.steps.iter().enumerate() {
        run.take_step(number, step);
    }
    let Run { mut agent, results, .. } = run;
    let warnings = agent.status().warnings;
    let status = agent.terminate();
    assert!(status.success(), "the agent ended with {status}");
    Replay { results, warnings }
}

struct Run<'s> {
    facts: Facts,
    agent: Agent,
    probers: Probers<'s>,
    /// Backends by the name of the pick.
    picks: BTreeMap<&'s str, BTreeSet<String>>,
    /// The outcome that is right although it was not recorded.
    different: Option<&'static str>,
    results: Vec<Probed>,
}

impl<'s> Run<'s> {
    fn take_step(&mut self, number: usize, step: &'s Step) {
        let mut during = self.change(step).into_iter();
        thread::sleep(Duration::from_secs_f64(step.wait_s));
        for probe in &step.probes {
            let watched = if probe.during_apply { during.next() } else { None };
            let seen = watched.unwrap_or_else(|| self.probers.ask(probe));
            let none = BTreeSet::new();
            let picked = probe.pick.as_deref().map(|pick| {
                let picked = self.picks.entry(pick).or_default();
                picked.extend(seen.backends.iter().cloned());
                &*picked
            });
            let verdict = compare(probe, &seen, picked.unwrap_or(&none), self.different);
            self.results.push(Probed { probe: format!("step {number}: {}", probe.describe()), verdict });
        }
    }

    /// Makes the step's change while the flows that are to be watched go on. Returns what these saw.
    fn change(&mut self, step: &Step) -> Vec<Observation> {
        if step.apply.is_empty() && step.delete.is_empty() {
            return Vec::new();
        }
        self.facts.apply(&step.apply);
        self.facts.delete(&step.delete);
        let manifest = self.facts.manifest();
        let watched: Vec<&Probe> = step.probes.iter().filter(|probe| probe.during_apply).collect();
        let name = |probe: &Probe| probe.flow.clone().unwrap_or_default();
        let mut processes: Vec<_> =
            watched.iter().map(|probe| self.probers.take(probe.from, &name(probe))).collect();
        let settled = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let settle = Settle(&settled);
            let mut flows = Vec::new();
            for (probe, process) in watched.iter().zip(&mut processes) {
                let (started, is_started) = mpsc::channel();
                let settled = &settled;
                flows.push(scope.spawn(move || watch(process, probe, &started, settled)));
                is_started.recv().expect("a flow before the change");
            }
            self.agent.apply(MANIFEST, &manifest);
            drop(settle);
            flows.into_iter().map(|flow| flow.join().expect("a flow during the change")).collect()
        });
        for (probe, process) in watched.iter().zip(processes) {
            self.probers.put(probe.from, &name(probe), process);
        }
        seen
    }
}

/// Tells the flows that the change is in force, or that it failed.
struct Settle<'a>(&'a AtomicBool);

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One datagram after the other until some time after the change.
fn watch(
    process: &mut ProbeProcess,
    probe: &Probe,
    started: &mpsc::Sender<()>,
    settled: &AtomicBool,
) -> Observation {
    let mut seen = Observation::default();
    let interval = Duration::from_millis(probe.interval_ms.unwrap_or(INTERVAL_MS));
    let mut left = AFTER;
    for attempt in 0.. {
        if attempt == BEFORE {
            // Nobody listens after a failure elsewhere.
            started.send(()).ok();
        }
        if settled.load(Ordering::Acquire) {
            left -= 1;
        }
        let next = Instant::now() + interval;
        ask_once(process, probe, attempt, &mut seen);
        if left == 0 {
            break;
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen
}
