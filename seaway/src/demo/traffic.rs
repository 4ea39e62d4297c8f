//! Requests on both paths, and through the removal of an endpoint.

use std::time::{Duration, Instant};

use anyhow::bail;
use seaway_lab::load::{Load, Plan, Progress};

use super::{
    Args,
    interrupt::Interrupt,
    manifests::{ENDPOINTS, REMOVED, VIP},
    outcome::PathOutcome,
    screen::Screen,
    site::Site,
};

/// Without any answer for this long there is nothing to wait for.
const STALLED_AFTER: Duration = Duration::from_secs(15);
/// Requests answered on each path before the endpoint is taken away.
const WARM_UP: u64 = 300;

/// Where a connection to a Service is turned towards an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// In connect(2) of a process in the agent's cgroup: no packet ever carries the VIP.
    Socket,
    /// In the node's network driver: every packet to and from the VIP is rewritten.
    Xdp,
}

impl Path {
    /// Both, in the order of the story.
    pub(super) const ALL: [Self; 2] = [Self::Socket, Self::Xdp];

    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Xdp => "xdp",
        }
    }

    fn start(self, site: &Site, args: &Args, marks: usize) -> anyhow::Result<Run> {
        let cgroup = (self == Self::Socket).then(|| site.cgroup());
        let concurrency = args.concurrency.into();
        let plan = Plan { marks, concurrency, ..Plan::new(VIP, args.requests) };
        let load = Load::start(&site.network().client, site.launcher(), cgroup, &plan)?;
        Ok(Run { path: self, load, progress: Progress::default() })
    }
}

/// A load under way.
#[derive(Debug)]
struct Run {
    path: Path,
    load: Load,
    progress: Progress,
}

impl Run {
    fn answered(&self) -> u64 {
        self.progress.phases.iter().map(|tally| tally.requests - tally.failed).sum()
    }

    /// What became of the last phase's requests; the earlier phases' failures count with it.
    fn outcome(&self, expected: &[std::net::IpAddr]) -> PathOutcome {
        PathOutcome::new(self.path.name(), VIP, &self.progress.phases, expected)
    }
}

/// Sends the requests of one path.
pub(super) fn send(
    site: &Site,
    path: Path,
    args: &Args,
    screen: &Screen,
    interrupt: &Interrupt,
) -> anyhow::Result<PathOutcome> {
    let mut runs = [path.start(site, args, 0)?];
    watch(&mut runs, screen, interrupt, |runs| Ok(runs[0].progress.finished))?;
    Ok(runs[0].outcome(&ENDPOINTS))
}

/// Sends on both paths at once, takes an endpoint away meanwhile, and returns what became of the
/// requests started after that was in force, and how long it took to be.
pub(super) fn send_through_removal(
    site: &mut Site,
    args: &Args,
    screen: &Screen,
    interrupt: &Interrupt,
) -> anyhow::Result<(Vec<PathOutcome>, Duration)> {
    let mut runs = [Path::Socket.start(site, args, 1)?, Path::Xdp.start(site, args, 1)?];
    watch(&mut runs, screen, interrupt, |runs| Ok(runs.iter().all(|run| run.answered() >= WARM_UP)))?;

    let removal = site.remove_endpoint()?;
    let mut took = None;
    watch(&mut runs, screen, interrupt, |_| {
        took = site.removal_in_force(&removal)?;
        Ok(took.is_some())
    })?;
    for run in &mut runs {
        run.load.mark()?;
    }
    watch(&mut runs, screen, interrupt, |runs| Ok(runs.iter().all(|run| run.progress.finished)))?;
    let left: Vec<_> = ENDPOINTS.into_iter().filter(|&endpoint| endpoint != REMOVED).collect();
    let outcomes = runs.iter().map(|run| run.outcome(&left)).collect();
    Ok((outcomes, took.unwrap_or_default()))
}

/// One line about the removal.
pub(super) fn describe_removal(outcomes: &[PathOutcome], took: Duration) -> String {
    let failed: u64 = outcomes.iter().map(|outcome| outcome.failed).sum();
    let late: u64 = outcomes.iter().map(|outcome| outcome.requests_of(REMOVED)).sum();
    let took_ms = took.as_millis();
    format!(
        "took {REMOVED} away under load: in force after {took_ms} ms, {failed} requests failed, \
         {late} new requests to it since"
    )
}

/// Follows the loads, and shows them, until `done`.
fn watch(
    runs: &mut [Run],
    screen: &Screen,
    interrupt: &Interrupt,
    mut done: impl FnMut(&[Run]) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let table = screen.live();
    let mut answered = 0;
    let mut answered_at = Instant::now();
    interrupt.wait(|| {
        for run in &mut *runs {
            run.progress = run.load.progress()?;
        }
        table.show(runs.iter().map(|run| run.outcome(&[])));
        let now: u64 = runs.iter().map(Run::answered).sum();
        if now > answered {
            (answered, answered_at) = (now, Instant::now());
        }
        if answered_at.elapsed() > STALLED_AFTER {
            let tallies: Vec<_> = runs.iter().flat_map(|run| &run.progress.phases).collect();
            let failures: Vec<_> = tallies.iter().flat_map(|tally| &tally.failures).collect();
            bail!("no request was answered for {STALLED_AFTER:?}; failures so far: {failures:?}");
        }
        Ok(done(runs)?.then_some(()))
    })
}
