//! What the loop notes and the HTTP servers tell.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use seaway_cluster::{AddressFamily, Node, Waiting};
use seaway_common::{SERVICE_EXTERNAL_LOCAL, SERVICE_INTERNAL_LOCAL, SERVICE_SOMEWHERE};
use seaway_dataplane::Desired;
use seaway_dataplane::health::proxy::{ProxyHealth, TIMEOUT};
use seaway_dataplane::metrics::{Metrics, Synced};

const FAMILIES: [AddressFamily; 2] = [AddressFamily::Ipv4, AddressFamily::Ipv6];

/// Health and metrics of one agent, shared by its loop and its servers.
#[derive(Clone)]
pub(super) struct Told {
    health: Arc<Mutex<ProxyHealth>>,
    metrics: Arc<Metrics>,
}

impl Told {
    /// Nothing was synced yet. Until the first sync the node counts as not eligible, so that
    /// `/healthz` says no while `/livez` says yes.
    pub(super) fn new(maps: &Path) -> Self {
        Self {
            health: Arc::new(Mutex::new(ProxyHealth::new(TIMEOUT))),
            metrics: Arc::new(Metrics::new(maps, SystemTime::now())),
        }
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Does something with the health.
    pub(super) fn health<T>(&self, act: impl FnOnce(&mut ProxyHealth) -> T) -> T {
        act(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A change waits from now on.
    pub(super) fn queued(&self) {
        let now = SystemTime::now();
        self.metrics.queued(now);
        self.health(|health| FAMILIES.iter().for_each(|family| health.queued(*family, now)));
    }

    /// Everything is in force.
    pub(super) fn synced(
        &self,
        full: bool,
        took: Duration,
        waited: &Waiting,
        first: bool,
        node: Option<&Node>,
    ) {
        let now = SystemTime::now();
        self.metrics.synced(Synced { full, took, waited, first }, now);
        self.health(|health| {
            FAMILIES.iter().for_each(|family| health.updated(*family, now));
            health.note_node(node);
        });
    }

    /// Counts the service ports that would need an endpoint on this node.
    pub(super) fn count_without_local(&self, desired: &Desired) {
        let (mut internal, mut external) = (0, 0);
        for port in desired.keys().filter_map(|key| desired.port(key)) {
            let has = |flag: u32| port.claims.iter().any(|(_, flags)| flags & flag != 0);
            let lacking = port.local.is_empty() && has(SERVICE_SOMEWHERE);
            internal += usize::from(lacking && has(SERVICE_INTERNAL_LOCAL));
            external += usize::from(lacking && has(SERVICE_EXTERNAL_LOCAL));
        }
        self.metrics.no_local_endpoints(internal, external);
    }
}
