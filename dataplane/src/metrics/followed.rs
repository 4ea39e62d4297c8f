//! How old the facts are, and which watches had stopped, read when somebody asks.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use seaway_cluster::freshness::Freshness;

/// The source of the facts, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Source(Arc<OnceLock<Freshness>>);

impl Source {
    /// The source is this one.
    pub(super) fn follow(&self, freshness: Freshness) {
        self.0.get_or_init(|| freshness);
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(freshness) = self.0.get() else { return Ok(()) };
        let (followed, now) = (freshness.followed(), Instant::now());
        let help = "Time since the API server last confirmed the objects of a kind";
        let mut family =
            encoder.encode_descriptor("seaway_facts_age_seconds", help, None, MetricType::Gauge)?;
        for (kind, it) in &followed {
            let labels = [("kind", kind.to_string())];
            ConstGauge::new(it.age(now).as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        let help = "Watches of the API server that had stopped telling of changes";
        let mut family = encoder.encode_descriptor("seaway_watches_lost", help, None, MetricType::Counter)?;
        for (kind, it) in &followed {
            let labels = [("kind", kind.to_string())];
            ConstCounter::new(it.lost).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
