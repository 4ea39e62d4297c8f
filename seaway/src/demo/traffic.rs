//! Requests on both paths, and through the removal of an endpoint.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::bail;
use seaway_lab::{
    Route,
    load::{Load, Plan, Progress},
};

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
/// A demo with a failed request has failed; more of them would only take their time.
const FAILURES_MAX: u64 = 25;
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
        Ok(Run { path: self, load, progress: Progress::default(), answered_at: Instant::now() })
    }
}

/// A load under way.
#[derive(Debug)]
struct Run {
    path: Path,
    load: Load,
    progress: Progress,
    answered_at: Instant,
}

impl Run {
    /// Looks at the load's last report and says whether it is a new one.
    fn refresh(&mut self) -> anyhow::Result<bool> {
        let answered = self.answered();
        let latest = self.load.progress()?;
        let is_new = latest != self.progress;
        self.progress = latest;
        if self.answered() > answered {
            self.answered_at = Instant::now();
        }
        let (path, failed) = (self.path.name(), self.failed());
        if failed >= FAILURES_MAX && !self.progress.finished {
            bail!("{path} path: gave up after {failed} failed requests: {:?}", self.failures());
        }
        if !self.progress.finished && self.answered_at.elapsed() > STALLED_AFTER {
            bail!("{path} path: no request was answered for {STALLED_AFTER:?}: {:?}", self.failures());
        }
        Ok(is_new)
    }

    fn failures(&self) -> BTreeMap<&str, u64> {
        let mut failures = BTreeMap::new();
        for (reason, count) in self.progress.phases.iter().flat_map(|tally| &tally.failures) {
            *failures.entry(reason.as_str()).or_default() += count;
        }
        failures
    }

    fn failed(&self) -> u64 {
        self.progress.phases.iter().map(|tally| tally.failed).sum()
    }

    fn answered(&self) -> u64 {
        self.progress.phases.iter().map(|tally| tally.requests - tally.failed).sum()
    }

    /// What became of the last phase's requests; the earlier phases' failures count with it.
    fn outcome(&self, expected: &[IpAddr]) -> PathOutcome {
        PathOutcome::new(self.path.name(), VIP, &self.progress.phases, expected)
    }
}

/// Sends the requests of one path. While the socket path has its turn, the client has no route
/// to the VIP: only connections that are turned in connect(2) get anywhere.
pub(super) fn send(
    site: &Site,
    path: Path,
    args: &Args,
    screen: &Screen,
    interrupt: &Interrupt,
) -> anyhow::Result<PathOutcome> {
    let no_route = (path == Path::Socket).then(|| Route::unreachable(VIP.ip().into()));
    if let Some(route) = &no_route {
        site.network().client.add_route(route)?;
    }
    let mut runs = [path.start(site, args, 0)?];
    watch(&mut runs, screen, interrupt, |runs| Ok(runs[0].progress.finished))?;
    if let Some(route) = &no_route {
        site.network().client.remove_route(route)?;
    }
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
    interrupt.wait(|| {
        let mut is_new = false;
        for run in &mut *runs {
            is_new |= run.refresh()?;
        }
        if is_new {
            table.show(runs.iter().map(|run| run.outcome(&ENDPOINTS)));
        }
        Ok(done(runs)?.then_some(()))
    })
}
