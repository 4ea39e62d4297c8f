//! What a `kubernetes` block says: which zones are served, and how.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::compat;
use crate::name::Zone;
use crate::selector::Selector;

/// The time to live of answers where none is set, in seconds.
pub const TTL_DEFAULT_S: u32 = 5;
/// The longest time to live that may be set, in seconds.
pub const TTL_MAX_S: u32 = 3600;

/// How long facts are waited for where nothing else is said.
pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How the records of a cluster are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The zones, forward and reverse, in the order in which they were given.
    pub zones: Vec<Zone>,
    /// The namespaces that are visible; empty means all.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Names below `pod`.
    pub pods: PodNames,
    /// The time to live of answers, in seconds.
    pub ttl_s: u32,
    /// Whether endpoints have names; without them, headless Services do not exist.
    pub endpoints: bool,
    /// Whether a Service with a virtual address but no ready endpoint does not exist.
    pub ignore_empty: bool,
    /// Whether an endpoint without a hostname is named after its pod.
    pub endpoint_pod_names: bool,
    /// Whether names such as `eu-1.pin._zone.SVC.NS.svc` pick endpoints by their zone.
    pub zonal: bool,
    /// Those of the zones whose Services several clusters share (KEP-1645).
    pub multicluster: Vec<Zone>,
    /// Which answers are CoreDNS's where ours differ.
    pub compat: compat::Names,
    /// Whether endpoints that still serve while they end stand in for ready ones, where there is
    /// none of those.
    pub terminating: bool,
    /// Where names that do not exist are looked for elsewhere; `None` is nowhere.
    pub fallthrough: Option<Vec<Zone>>,
    /// What the names of a `k8s_external` plugin beside it live, in seconds; `None` without one.
    pub external_ttl_s: Option<u32>,
    /// Only Services with these labels have names.
    pub labels: Selector,
    /// Only namespaces with these labels are visible.
    pub namespace_labels: Selector,
    /// The addresses the server is reached at, which tell the zone's name servers. Loopback
    /// addresses do not count.
    pub local_ips: Vec<IpAddr>,
    /// So long the first facts are waited for before anything is answered.
    pub startup: Duration,
}

/// Names such as `10-1-2-3.default.pod.cluster.local`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNames {
    /// There are none.
    #[default]
    Disabled,
    /// The address spelt in the name, whether or not a pod has it.
    Insecure,
    /// Only addresses of living pods of that namespace.
    Verified,
}

impl Options {
    /// Defaults for `zones`.
    pub fn new(zones: Vec<Zone>) -> Self {
        Self {
            zones,
            namespaces: BTreeSet::new(),
            pods: PodNames::default(),
            ttl_s: TTL_DEFAULT_S,
            endpoints: true,
            ignore_empty: false,
            endpoint_pod_names: false,
            zonal: false,
            multicluster: Vec::new(),
            compat: compat::Names::default(),
            terminating: false,
            fallthrough: None,
            external_ttl_s: None,
            labels: Selector::default(),
            namespace_labels: Selector::default(),
            local_ips: Vec::new(),
            startup: STARTUP_TIMEOUT,
        }
    }

    /// Whether the Services of one of the zones are those that several clusters share.
    pub fn is_shared(&self, zone: &Zone) -> bool {
        !self.multicluster.is_empty() && self.multicluster.contains(zone)
    }

    /// The first forward zone, below which the targets of PTR records lie.
    pub fn primary(&self) -> Option<&Zone> {
        self.zones.iter().find(|zone| !zone.is_reverse())
    }
}
