//! The loop that keeps the maps equal to the facts.
//!
//! ```text
//!       Facts, Site ─► what changed ─► plan ─► apply ──► done
//!             Retry ─► read the maps ─┘          │ failed
//!             Audit ─► read the maps ─┘          ▼
//!             Stop  ─► leave everything      Retry, later and later
//! ```
//!
//! The maps outlive the loop: stopping changes nothing in them. A failed step is answered by
//! reading the maps anew, which is also how an agent starts, so there is one way to recover.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seaway_cluster::{ServiceName, Snapshot};
use seaway_common::{BackendValue, proto};

use crate::desired::{Conflict, Desired, PortKey};
use crate::installed::Installed;
use crate::maps::{Error, Maps};
use crate::plan::{Applied, Full, Step, apply, plan, stray_addresses};
use crate::site::Site;

/// First and longest wait before a failed change is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What the loop reacts to.
#[derive(Clone, Debug)]
pub enum Event {
    /// The facts are these now.
    Facts(Arc<Snapshot>),
    /// The node's addresses or settings are these now.
    Site(Arc<Site>),
    /// Try again what failed.
    Retry,
    /// Compare the maps with the model: something else may have changed them.
    Audit,
    /// End the loop.
    Stop,
}

/// What came of an event.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Map operations that were applied.
    pub applied: usize,
    /// UDP flow entries that were removed, since their endpoint is gone.
    pub purged: usize,
    /// Ports that do not fit and stay as they are.
    pub full: Vec<Full>,
    /// Ports whose consistent table does not fit: endpoints are chosen at random.
    pub without_table: Vec<Full>,
    /// How long each consistent table took that was built.
    pub tables: Vec<Duration>,
    /// Frontends claimed twice.
    pub conflicts: Vec<Conflict>,
    /// What Services ask for in vain.
    pub warnings: Vec<String>,
    /// UDP endpoints that no Service has any more: sockets connected to them are dead.
    pub gone_udp: BTreeSet<SocketAddr>,
    /// What failed. [`Event::Retry`] is due after [`retry_in`](Self::retry_in).
    pub error: Option<Error>,
    /// When to try again, if something failed or did not fit.
    pub retry_in: Option<Duration>,
    /// The source was empty and was not believed.
    pub ignored_empty: bool,
}

/// Facts, what follows from them, and the maps that show it.
pub struct Sync<M> {
    site: Arc<Site>,
    maps: M,
    snapshot: Option<Arc<Snapshot>>,
    desired: Desired,
    installed: Installed,
    failures: u32,
    /// Some ports did not fit.
    full: bool,
}

impl<M: Maps> Sync<M> {
    /// Starts from what the maps hold. `site` is what is known of this node.
    ///
    /// # Errors
    /// The first map that cannot be read.
    pub fn new(maps: M, site: impl Into<Site>) -> Result<Self, Error> {
        let installed = Installed::read(&maps)?;
        let desired = Desired::default();
        let site = Arc::new(site.into());
        Ok(Self { site, maps, snapshot: None, desired, installed, failures: 0, full: false })
    }

    /// Deals with an event at a time given in milliseconds of any steady clock.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Outcome {
        match event {
            Event::Facts(snapshot) => self.facts(&snapshot, now_ms),
            Event::Site(site) => self.moved(site, now_ms),
            Event::Retry | Event::Audit if self.snapshot.is_some() => self.reread(now_ms),
            Event::Retry | Event::Audit | Event::Stop => Outcome::default(),
        }
    }

    /// What the maps hold, as far as is known.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// What they should hold.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The maps.
    pub fn maps(&self) -> &M {
        &self.maps
    }

    fn facts(&mut self, snapshot: &Arc<Snapshot>, now_ms: u64) -> Outcome {
        if says_nothing(snapshot) {
            return Outcome { ignored_empty: true, ..Outcome::default() };
        }
        let first = self.snapshot.is_none();
        let before = self.snapshot.replace(Arc::clone(snapshot)).unwrap_or_default();
        let changed = changed_services(&before, snapshot, &self.site.node);
        let mut ports = self.desired.update(snapshot, &self.site, &changed.services);
        if changed.pods {
            ports.extend(self.desired.update_pods(snapshot, &self.site));
        }
        if self.failures != 0 {
            // What failed before is not in these changes.
            return self.reread(now_ms);
        }
        if first || self.full {
            // Whatever an earlier agent left and nobody wants any more; what may fit by now.
            ports.extend(self.desired.keys().chain(self.installed.keys()).cloned());
        }
        self.settle(&ports, first, now_ms)
    }

    /// The node is another one, so to speak: every decision is made anew, and only what comes out
    /// differently is written.
    fn moved(&mut self, site: Arc<Site>, now_ms: u64) -> Outcome {
        self.site = site;
        let Some(snapshot) = self.snapshot.clone() else { return Outcome::default() };
        let mut ports = self.desired.update(&snapshot, &self.site, snapshot.services.keys());
        ports.extend(self.desired.update_pods(&snapshot, &self.site));
        if self.failures != 0 {
            return self.reread(now_ms);
        }
        self.settle(&ports, false, now_ms)
    }

    fn reread(&mut self, now_ms: u64) -> Outcome {
        match Installed::read(&self.maps) {
            Ok(mut installed) => {
                installed.hold_as(&self.installed);
                self.installed = installed;
            }
            Err(error) => return self.failed(error),
        }
        let ports = self.desired.keys().chain(self.installed.keys()).cloned().collect();
        self.settle(&ports, true, now_ms)
    }

    /// Plans and applies the change of some ports, and of strays where `repair` says so.
    fn settle(&mut self, ports: &BTreeSet<PortKey>, repair: bool, now_ms: u64) -> Outcome {
        let begun = Instant::now();
        let mut plan = plan(&self.desired, &mut self.installed, ports, now_ms);
        let gone_udp = self.gone_udp(&plan.steps);
        let (planned, begun) = (begun.elapsed(), Instant::now());
        let mut done = Applied::default();
        let mut result = self
            .configure(&mut done)
            .and_then(|()| apply(&plan.steps, &mut self.maps, &mut self.installed, now_ms, &mut done));
        if repair && result.is_ok() {
            let mut repairs = self.installed.repairs();
            repairs.extend(stray_addresses(&self.desired, &self.installed));
            result = apply(&repairs, &mut self.maps, &mut self.installed, now_ms, &mut done);
        }
        tracing::debug!(plan = ?planned, write = ?begun.elapsed(), steps = done.steps, "applied");
        let mut outcome = match result {
            Ok(()) => {
                self.failures = 0;
                Outcome { gone_udp, ..Outcome::default() }
            }
            Err(error) => self.failed(error),
        };
        (outcome.applied, outcome.purged) = (done.steps, done.purged);
        self.full = !plan.full.is_empty() || !plan.without_table.is_empty();
        if self.full {
            // Space that is held becomes free; what never fits is tried again at the slowest pace.
            outcome.retry_in.get_or_insert(RETRY.1);
        }
        outcome.full.append(&mut plan.full);
        outcome.without_table.append(&mut plan.without_table);
        outcome.tables.append(&mut plan.tables);
        outcome.conflicts = self.desired.conflicts();
        outcome.warnings = self.desired.warnings().cloned().collect();
        outcome.warnings.extend(self.snapshot.as_ref().and_then(|snapshot| self.site.warning(snapshot)));
        outcome
    }

    /// Tells the programs about the node.
    fn configure(&mut self, done: &mut Applied) -> Result<(), Error> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let wanted = self.site.config(snapshot);
        if self.maps.config()? != wanted {
            self.maps.put_config(&wanted)?;
            done.steps += 1;
        }
        Ok(())
    }

    /// UDP endpoints that the steps take away from the last service port that has them.
    fn gone_udp(&self, steps: &[Step]) -> BTreeSet<SocketAddr> {
        let purged = steps.iter().filter_map(|step| match step {
            Step::PurgeFlows { backends } => Some(backends),
            _ => None,
        });
        let place = |value: &BackendValue| SocketAddr::new(IpAddr::from(value.addr), value.port.get());
        let all = self.installed.backends();
        let ids: BTreeSet<u32> = purged.flatten().copied().collect();
        let mut gone: BTreeSet<SocketAddr> = ids.iter().filter_map(|id| all.get(id)).map(place).collect();
        if !gone.is_empty() {
            let kept = all.iter().filter(|(id, value)| value.proto == proto::UDP && !ids.contains(id));
            kept.for_each(|(_, value)| _ = gone.remove(&place(value)));
        }
        gone
    }

    fn failed(&mut self, error: Error) -> Outcome {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(16)).min(RETRY.1);
        self.failures += 1;
        Outcome { error: Some(error), retry_in: Some(wait), ..Outcome::default() }
    }
}

/// An empty source is one that is not ready, or is broken: it deletes nothing.
fn says_nothing(snapshot: &Snapshot) -> bool {
    let Snapshot { services, slices, nodes, pods, namespaces: _, service_cidrs: _, imports: _, imported: _ } =
        snapshot;
    services.is_empty() && slices.is_empty() && nodes.is_empty() && pods.is_empty()
}

/// What has to be decided anew.
struct Changed {
    services: BTreeSet<ServiceName>,
    pods: bool,
}

/// What changed, or everything if this node moved to another zone or has other addresses.
fn changed_services(before: &Snapshot, now: &Snapshot, node: &str) -> Changed {
    let place = |snapshot: &Snapshot| {
        snapshot.nodes.get(node).map(|node| (node.zone.clone(), node.addresses.clone()))
    };
    if place(before) != place(now) {
        let services = before.services.keys().chain(now.services.keys()).cloned().collect();
        return Changed { services, pods: true };
    }
    let services = now.changed_services(before).into_iter().cloned().collect();
    Changed { services, pods: before.pods.diff(&now.pods).next().is_some() }
}
