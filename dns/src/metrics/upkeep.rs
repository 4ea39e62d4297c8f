//! Metrics of the server itself: its plugins, its Corefile and its own health.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::reader::seconds;
use super::{DURATIONS, Distribution, add, buckets, duration_place};
use crate::block::Block;

/// What is counted and known of the server itself.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// The blocks in force: server, zone, and the plugin's name.
    plugins: Mutex<Vec<(String, String, String)>>,
    /// Stands for the Corefile in force.
    version: AtomicU64,
    health: Distribution<DURATIONS>,
    health_failed: AtomicU64,
}

impl Upkeep {
    /// Takes note of the blocks that are in force from now on.
    pub(crate) fn configured<'b>(&self, blocks: impl Iterator<Item = &'b Block>) {
        let mut version = DefaultHasher::new();
        let mut plugins = Vec::new();
        for block in blocks {
            block.digest.hash(&mut version);
            let (server, zone) = block.labels();
            plugins.extend(block.plugins.iter().map(|name| (server.clone(), zone.clone(), name.clone())));
        }
        *self.plugins.lock() = plugins;
        self.version.store(version.finish(), Ordering::Relaxed);
    }

    /// The server asked itself for `/health`: how long that took, or that it failed.
    pub(crate) fn asked_itself(&self, took: Option<Duration>) {
        let Some(took) = took else { return add(&self.health_failed, 1) };
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.health.add(duration_place(us), us);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Plugins of the server blocks in force";
        let mut family =
            encoder.encode_descriptor("coredns_plugin_enabled", help, None, MetricType::Gauge)?;
        for (server, zone, name) in &*self.plugins.lock() {
            let labels = [("server", server.as_str()), ("zone", zone), ("view", ""), ("name", name)];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
        let (name, help) = ("coredns_reload_version_info", "The Corefile in force");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let version = format!("{:016x}", self.version.load(Ordering::Relaxed));
        let labels = [("hash", "siphash"), ("value", version.as_str())];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        self.encode_health(encoder)
    }

    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (name, help) =
            ("coredns_health_request_duration_seconds", "How long the server's own /health took");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let buckets = buckets(seconds(), self.health.counts());
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = load(&self.health.sum) as f64 / 1_000_000.0;
        family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        let (name, help) = ("coredns_health_request_failures", "How often that failed");
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(load(&self.health_failed)).encode(family)
    }
}
