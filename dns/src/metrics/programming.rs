//! How long changes of endpoints took to become changes of names.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use seaway_cluster::{ServiceName, Snapshot};

use super::{Distribution, buckets};

const KINDS: [&str; 3] = ["cluster_ip", "headless_with_selector", "headless_without_selector"];
/// Upper bounds: 1 ms, doubling.
const BOUNDS: u32 = 20;

/// From the moment when the cluster noticed why endpoints changed until names answered with them.
#[derive(Debug)]
pub struct Programming {
    since: SystemTime,
    by_kind: [Distribution<{ BOUNDS as usize }>; KINDS.len()],
}

impl Default for Programming {
    fn default() -> Self {
        Self { since: SystemTime::now(), by_kind: Default::default() }
    }
}

impl Programming {
    /// The names of these Services answer with their changes at the moment `now`. What the cluster noticed
    /// before this server started says nothing of it.
    pub fn note(
        &self,
        snapshot: &Snapshot,
        triggers: impl IntoIterator<Item = (ServiceName, SystemTime)>,
        now: SystemTime,
    ) {
        for (name, at) in triggers.into_iter().filter(|(_, at)| *at >= self.since) {
            let Some(service) = snapshot.services.get(&name) else { continue };
            let kind = match (service.headless, service.selector.is_empty()) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => 2,
            };
            let took = now.duration_since(at).unwrap_or_default();
            self.by_kind[kind].add(place(took), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "coredns_kubernetes_dns_programming_duration_seconds";
        let help = "From the reason of a change of endpoints until names answered with it";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (kind, durations) in KINDS.iter().zip(&self.by_kind) {
            let bounds = (0..BOUNDS).map(|place| f64::from(1 << place) / 1000.0);
            let buckets = buckets(bounds, durations.counts());
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let labels = [("service_kind", *kind)];
                let sum = durations.sum.load(Ordering::Relaxed) as f64 / 1_000_000.0;
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

/// The first bound that a duration is not above.
fn place(took: Duration) -> usize {
    let ms = took.as_nanos().div_ceil(1_000_000).max(1);
    ms.next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_below_the_first_bound_that_it_is_not_above() {
        let places = [0, 999, 1000, 1001, 2000, 2001, 600_000_000].map(|us| place(Duration::from_micros(us)));
        assert_eq!(places, [0, 0, 0, 1, 1, 2, 20]);
    }
}
