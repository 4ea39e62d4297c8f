//! Cases replayed side by side, each lane with a topology of its own: most of the time is waiting.

use std::{
    any::Any,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    cases::Case,
    comparison::Verdict,
    replay::{Probed, Replay, replay},
    site::Site,
};

/// How many topologies there are at most.
const LANES_MAX: usize = 4;

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Replayed<'c> {
    pub(crate) case: &'c Case,
    /// What is wrong, a line per probe; empty if every run matched.
    pub(crate) problems: Vec<String>,
    /// Another outcome than the recorded one was seen, on purpose.
    pub(crate) differs: bool,
    /// Endpoints of n1 saw the client where n1 was recorded.
    pub(crate) keeps_client: bool,
    pub(crate) took: Duration,
}

/// Replays all cases, each as often as it has to match; the results are in their order.
pub(crate) fn replay_all(cases: &[Case], runs: usize) -> Vec<Replayed<'_>> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let site = Site::build();
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { return done };
            done.push((index, replay_case(&site, case, runs)));
        }
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES_MAX.min(cases.len())).map(|_| scope.spawn(lane)).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, replayed)| replayed).collect()
}

/// Replays a case until a run does not match, at most so often as it has to.
fn replay_case<'c>(site: &Site, case: &'c Case, runs: usize) -> Replayed<'c> {
    let started = Instant::now();
    let mut first: Option<Vec<Probed>> = None;
    let mut problems = Vec::new();
    for run in 1..=runs {
        let Replay { results, warnings } = match catch_unwind(AssertUnwindSafe(|| replay(site, case))) {
            Ok(replay) => replay,
            Err(panic) => {
                problems.push(format!("run {run}: {}", message(&*panic)));
                // The agent was killed on the way; the next one shall not find what it left.
                fs::remove_dir_all(site.setup.pin_dir()).ok();
                break;
            }
        };
        for result in &results {
            if let Verdict::Neither(mismatches) = &result.verdict {
                problems.push(format!("run {run}, {}: {}", result.probe, mismatches.join("; ")));
            }
        }
        if let Some(first) = &first {
            for (one, other) in
                first.iter().zip(&results).filter(|(one, other)| !one.verdict.repeats(&other.verdict))
            {
                problems.push(format!("{}: {:?}, then {:?}", one.probe, one.verdict, other.verdict));
            }
        }
        if !problems.is_empty() {
            problems.extend(warnings.into_iter().map(|warning| format!("the agent warns: {warning}")));
            break;
        }
        first = Some(results);
    }
    let any = |verdict| first.iter().flatten().any(|probed| probed.verdict == verdict);
    let (differs, keeps_client) = (any(Verdict::Different), any(Verdict::ClientKept));
    Replayed { case, problems, differs, keeps_client, took: started.elapsed() }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
