//! What Prometheus is told, under the names that dashboards for kube-proxy know.
//!
//! Everything that the loop notes is a plain counter or histogram; what the kernel counts is read
//! from the pinned maps when somebody asks ([`kernel`]).

mod followed;
mod kernel;

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use seaway_cluster::Waiting;
use seaway_cluster::freshness::Freshness;

type Seconds = Gauge<f64, AtomicU64>;

/// Bounds for durations of a sync: 0.1 ms to 6.5 s, each twice the one before. kube-proxy's begin
/// at 1 ms, which is where ours end.
const SYNC_BOUNDS: (f64, f64, u16) = (0.0001, 2.0, 17);

/// All metrics of an agent.
pub struct Metrics {
    registry: Registry,
    sync: Histogram,
    sync_full: Histogram,
    sync_partial: Histogram,
    synced_at: Seconds,
    queued_at: Seconds,
    programming: Histogram,
    propagation: Histogram,
    endpoint_changes: Changes,
    service_changes: Changes,
    no_local: Family<Policy, Gauge>,
    healthz: Family<Code, Counter>,
    livez: Family<Code, Counter>,
    warnings: Gauge,
    reconciled: Histogram,
    forgotten: Counter,
    tables: Histogram,
    followed: followed::Source,
    started: SystemTime,
}

/// Changes that arrived, and those of them that are not in force yet.
#[derive(Clone, Default)]
struct Changes {
    pending: Gauge,
    total: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    traffic_policy: &'static str,
}

/// A metric of any type that can be registered: its clones share what is counted.
trait Registered {
    fn register(&self, registry: &mut Registry, name: &str, help: &str);
}

impl<M: Metric + Clone> Registered for M {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// A sync that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Synced<'a> {
    /// Every service port was looked at, not only those that changed.
    pub full: bool,
    /// How long it took.
    pub took: Duration,
    /// The changes that are in force by it, and have waited until now.
    pub waited: &'a Waiting,
    /// It is the first of this agent: what it puts in force is older than the agent.
    pub first: bool,
}

impl Metrics {
    /// Metrics of an agent whose maps are pinned in `maps`.
    pub fn new(maps: &Path, now: SystemTime) -> Self {
        let (start, factor, length) = SYNC_BOUNDS;
        let bounds = || prometheus_client::metrics::histogram::exponential_buckets(start, factor, length);
        let mut metrics = Self {
            registry: Registry::default(),
            sync: Histogram::new(bounds()),
            sync_full: Histogram::new(bounds()),
            sync_partial: Histogram::new(bounds()),
            synced_at: Seconds::default(),
            queued_at: Seconds::default(),
            programming: Histogram::new(programming_bounds()),
            propagation: Histogram::new(bounds()),
            endpoint_changes: Changes::default(),
            service_changes: Changes::default(),
            no_local: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            warnings: Gauge::default(),
            reconciled: Histogram::new(bounds()),
            forgotten: Counter::default(),
            tables: Histogram::new(table_bounds()),
            followed: followed::Source::default(),
            started: now,
        };
        metrics.register();
        metrics.registry.register_collector(Box::new(metrics.followed.clone()));
        metrics.registry.register_collector(Box::new(kernel::Kernel::new(maps)));
        metrics
    }

    /// The library adds `_total` to the names of counters.
    fn register(&mut self) {
        let mut registry = std::mem::take(&mut self.registry);
        let mut rules = |name: &str, help: &str, metric: &dyn Registered| {
            metric.register(&mut registry, &format!("kubeproxy_sync_proxy_rules_{name}"), help);
        };
        rules("duration_seconds", "Time to put changes in force", &self.sync);
        rules("last_timestamp_seconds", "The last sync", &self.synced_at);
        rules("last_queued_timestamp_seconds", "The last time a sync was asked for", &self.queued_at);
        rules("endpoint_changes_pending", "Changes of slices that wait", &self.endpoint_changes.pending);
        rules("endpoint_changes", "Changes of slices so far", &self.endpoint_changes.total);
        rules("service_changes_pending", "Changes of Services that wait", &self.service_changes.pending);
        rules("service_changes", "Changes of Services so far", &self.service_changes.total);
        let help = "Service ports with a policy of Local and without an endpoint on this node";
        rules("no_local_endpoints_total", help, &self.no_local);
        let mut all = |name: &str, help: &str, metric: &dyn Registered| {
            metric.register(&mut registry, name, help);
        };
        let help = "Time to compare everything and put it in force";
        all("kubeproxy_sync_full_proxy_rules_duration_seconds", help, &self.sync_full);
        let help = "Time to put what changed in force";
        all("kubeproxy_sync_partial_proxy_rules_duration_seconds", help, &self.sync_partial);
        let help = "From the cluster's notice of a change to its being in force";
        all("kubeproxy_network_programming_duration_seconds", help, &self.programming);
        all("kubeproxy_proxy_healthz", "Answers of /healthz", &self.healthz);
        all("kubeproxy_proxy_livez", "Answers of /livez", &self.livez);
        let help = "From the arrival of a change to its being in force";
        all("seaway_propagation_seconds", help, &self.propagation);
        all("seaway_warnings", "What is wrong now", &self.warnings);
        let help = "Time to look at every flow for those that were idle for too long";
        all("kubeproxy_conntrack_reconciler_sync_duration_seconds", help, &self.reconciled);
        let help = "Flow entries that were removed: idle for too long, or UDP to an endpoint that is gone";
        all("kubeproxy_conntrack_reconciler_deleted_entries", help, &self.forgotten);
        all("seaway_maglev_rebuild_seconds", "Time to build a consistent table", &self.tables);
        self.registry = registry;
    }

    /// Tells how the facts are followed as well. To be called once.
    pub fn follow(&self, freshness: Freshness) {
        self.followed.follow(freshness);
    }

    /// Notes that a sync was asked for.
    pub fn queued(&self, now: SystemTime) {
        self.queued_at.set(seconds(now));
    }

    /// Notes a sync.
    pub fn synced(&self, synced: Synced<'_>, now: SystemTime) {
        let took = synced.took.as_secs_f64();
        self.sync.observe(took);
        if synced.full { &self.sync_full } else { &self.sync_partial }.observe(took);
        self.synced_at.set(seconds(now));
        let waited = synced.waited;
        self.endpoint_changes.total.inc_by(waited.slices);
        self.service_changes.total.inc_by(waited.services);
        if let Some(since) = waited.since.filter(|_| !synced.first) {
            self.propagation.observe(since.elapsed().as_secs_f64());
        }
        // What happened before this agent started says nothing of it.
        for at in waited.triggers.iter().filter(|at| **at >= self.started) {
            self.programming.observe(now.duration_since(*at).unwrap_or_default().as_secs_f64());
        }
    }

    /// Notes how long consistent tables took that were built.
    pub fn tables(&self, built: &[Duration]) {
        built.iter().for_each(|took| self.tables.observe(took.as_secs_f64()));
    }

    /// Notes a look at all flows, and how many entries went.
    pub fn reconciled(&self, took: Duration, forgotten: usize) {
        self.reconciled.observe(took.as_secs_f64());
        self.forgotten.inc_by(forgotten as u64);
    }

    /// Notes the UDP flow entries that went with their endpoints.
    pub fn purged(&self, entries: usize) {
        self.forgotten.inc_by(entries as u64);
    }

    /// Notes how many changes wait.
    pub fn pending(&self, waiting: &Waiting) {
        self.endpoint_changes.pending.set(i64::try_from(waiting.slices).unwrap_or(i64::MAX));
        self.service_changes.pending.set(i64::try_from(waiting.services).unwrap_or(i64::MAX));
    }

    /// Notes how many service ports have no endpoint on this node that they would need.
    pub fn no_local_endpoints(&self, internal: usize, external: usize) {
        for (traffic_policy, count) in [("internal", internal), ("external", external)] {
            let gauge = self.no_local.get_or_create(&Policy { traffic_policy });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Notes how many warnings hold.
    pub fn warnings(&self, count: usize) {
        self.warnings.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Notes an answer of `/healthz` or `/livez`.
    pub fn answered(&self, path: &str, code: u16) {
        match path {
            "/healthz" => _ = self.healthz.get_or_create(&Code { code }).inc(),
            "/livez" => _ = self.livez.get_or_create(&Code { code }).inc(),
            _ => {}
        }
    }

    /// All of them, in the text format. Reads the kernel's maps, which may take a while.
    ///
    /// # Errors
    /// The formatter's.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// As kube-proxy's `network_programming_duration_seconds`.
fn programming_bounds() -> impl Iterator<Item = f64> {
    let step = |from: u32, to: u32, by: usize| (from..=to).step_by(by).map(f64::from);
    [0.25, 0.5].into_iter().chain(step(1, 59, 1)).chain(step(60, 115, 5)).chain(step(120, 300, 30))
}

/// A table of ten endpoints takes some 14 us, one of a thousand some ms.
fn table_bounds() -> impl Iterator<Item = f64> {
    prometheus_client::metrics::histogram::exponential_buckets(0.000_01, 2.0, 14)
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_dashboards_use_are_there() {
        let metrics = Metrics::new(Path::new("/nowhere"), UNIX_EPOCH);
        let waited = Waiting {
            since: Some(std::time::Instant::now()),
            services: 1,
            slices: 2,
            triggers: [UNIX_EPOCH + Duration::from_secs(5)].into(),
        };
        let synced = Synced { full: false, took: Duration::from_millis(1), waited: &waited, first: false };
        metrics.synced(synced, UNIX_EPOCH + Duration::from_secs(6));
        metrics.no_local_endpoints(1, 0);
        metrics.answered("/healthz", 503);
        metrics.answered("/livez", 200);
        metrics.reconciled(Duration::from_millis(3), 4);
        metrics.purged(2);
        metrics.tables(&[Duration::from_micros(14), Duration::from_millis(2)]);
        let text = metrics.text().unwrap();
        for line in [
            "kubeproxy_sync_proxy_rules_duration_seconds_count 1",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count 0",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count 1",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds 6.0",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 0.0",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"1.0\"} 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 2",
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"internal\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
            "kubeproxy_proxy_livez_total{code=\"200\"} 1",
            "seaway_propagation_seconds_count 1",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total 6",
            "seaway_maglev_rebuild_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert_eq!(programming_bounds().count(), 2 + 59 + 12 + 7);
    }
}
