//! The counts as labelled metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cache::CacheTally;

use super::{
    DURATIONS, Distribution, FIRST_DURATION_US, KINDS, Metrics, PLUGINS, RCODES, SIZES, Stripe, Tally, WAYS,
};

/// Reads the counts when somebody asks.
#[derive(Debug)]
pub(super) struct Reader(Weak<Metrics>);

impl Reader {
    /// A reader of what is counted, for as long as somebody counts.
    pub(super) fn of(metrics: &Arc<Metrics>) -> Self {
        Self(Arc::downgrade(metrics))
    }
}

impl Collector for Reader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(metrics) = self.0.upgrade() else { return Ok(()) };
        let tallies: Vec<Arc<Tally>> = {
            let tallies = metrics.tallies.lock();
            tallies.values().cloned().collect()
        };
        let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", ""), ("goversion", "")];
        let mut family =
            encoder.encode_descriptor("coredns_build_info", "What runs", None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(family.encode_family(&build)?)?;
        requests(&tallies, &mut encoder)?;
        responses(&tallies, &mut encoder)?;
        singles(&metrics, &mut encoder)?;
        caches(&metrics, &mut encoder)?;
        https(&metrics, &mut encoder)?;
        followed(&metrics, &mut encoder)?;
        distributions(&tallies, &mut encoder)
    }
}

/// How the facts are followed: not CoreDNS's names, since it does not know.
fn followed(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let followed = metrics.followed.lock();
    let help = "Time since the API server last confirmed the objects of a kind";
    let mut family = encoder.encode_descriptor("seaway_facts_age_seconds", help, None, MetricType::Gauge)?;
    for (kind, (age_s, _)) in &*followed {
        let labels = [("kind", kind.to_string())];
        ConstGauge::new(*age_s).encode(family.encode_family(&labels)?)?;
    }
    let help = "Watches of the API server that had stopped telling of changes";
    let mut family = encoder.encode_descriptor("seaway_watches_lost", help, None, MetricType::Counter)?;
    for (kind, (_, lost)) in &*followed {
        let labels = [("kind", kind.to_string())];
        ConstCounter::new(*lost).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn requests(tallies: &[Arc<Tally>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family =
        encoder.encode_descriptor("coredns_dns_requests", "Queries", None, MetricType::Counter)?;
    for tally in tallies {
        for (way, (proto, v)) in WAYS.iter().enumerate() {
            for (place, name) in KINDS.iter().enumerate() {
                let count = tally.sum(|stripe| &stripe.requests[way][place]);
                let labels = [
                    ("server", tally.server.as_str()),
                    ("zone", &tally.zone),
                    ("view", ""),
                    ("proto", proto),
                    ("family", v),
                    ("type", name),
                ];
                if count > 0 {
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
    }
    Ok(())
}

fn responses(tallies: &[Arc<Tally>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut family =
        encoder.encode_descriptor("coredns_dns_responses", "Answers", None, MetricType::Counter)?;
    for tally in tallies {
        for (place, plugin) in PLUGINS.iter().enumerate() {
            for (rcode, name) in RCODES.iter().enumerate() {
                let count = tally.sum(|stripe| &stripe.responses[place][rcode]);
                let labels = [
                    ("server", tally.server.as_str()),
                    ("zone", &tally.zone),
                    ("view", ""),
                    ("rcode", name),
                    ("plugin", plugin),
                ];
                if count > 0 {
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
    }
    Ok(())
}

fn singles(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let counters = [
        ("coredns_panics", "Panics that were caught", &metrics.panics),
        ("coredns_reload_failed", "Configurations that could not be taken over", &metrics.reload_failed),
        ("coredns_forward_max_concurrent_rejects", "Queries refused by max_concurrent", &metrics.crowded),
        ("seaway_dns_shed", "Queries shed while too many waited for upstreams", &metrics.shed),
    ];
    for (name, help, counter) in counters {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family)?;
    }
    let mut family =
        encoder.encode_descriptor("coredns_cache_entries", "Kept answers", None, MetricType::Gauge)?;
    for (sort, entries) in ["success", "denial"].into_iter().zip(&metrics.cache_entries) {
        let count = i64::try_from(entries.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        ConstGauge::new(count).encode(family.encode_family(&[("type", sort)])?)?;
    }
    Ok(())
}

fn caches(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let caches = metrics.caches.lock();
    type Count = fn(&CacheTally) -> &AtomicU64;
    let counts: [(&str, &str, Option<&str>, Count); 8] = [
        ("requests", "Queries that were looked up in the cache", None, |tally| &tally.requests),
        ("misses", "Queries that no answer in date was kept for", None, |tally| &tally.misses),
        ("prefetch", "Answers that were asked for again before their end", None, |tally| &tally.prefetch),
        ("served_stale", "Answers served out of date", None, |tally| &tally.served_stale),
        ("hits", "Queries answered from the cache", Some("success"), |tally| &tally.hits[0]),
        ("hits", "", Some("denial"), |tally| &tally.hits[1]),
        ("evictions", "Kept answers that had to go for others", Some("success"), |tally| &tally.evictions[0]),
        ("evictions", "", Some("denial"), |tally| &tally.evictions[1]),
    ];
    for group in counts.chunk_by(|one, other| one.0 == other.0) {
        let name = format!("coredns_cache_{}", group[0].0);
        let mut family = encoder.encode_descriptor(&name, group[0].1, None, MetricType::Counter)?;
        for (_, _, sort, count) in group {
            for ((server, zone), tally) in caches.iter() {
                let mut labels = vec![("server", server.as_str()), ("zones", zone), ("view", "")];
                labels.extend(sort.map(|sort| ("type", sort)));
                let value = count(tally).load(Ordering::Relaxed);
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn https(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Answers over HTTPS";
    let mut family =
        encoder.encode_descriptor("coredns_dns_https_responses", help, None, MetricType::Counter)?;
    for ((port, status), count) in metrics.https.lock().iter() {
        let labels = [("server", format!("https://:{port}")), ("status", status.to_string())];
        ConstCounter::new(count.load(Ordering::Relaxed)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn distributions(tallies: &[Arc<Tally>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let seconds: Vec<f64> =
        (0..DURATIONS).map(|place| (FIRST_DURATION_US << place) as f64 / 1_000_000.0).collect();
    let help = "How long answers took";
    let mut family = encoder.encode_descriptor(
        "coredns_dns_request_duration_seconds",
        help,
        None,
        MetricType::Histogram,
    )?;
    for tally in tallies {
        let labels = [("server", tally.server.as_str()), ("zone", &tally.zone), ("view", "")];
        let (sum, count, buckets) = read(tally, &seconds, |stripe| &stripe.durations);
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            sum / 1_000_000.0,
            count,
            &buckets,
            None,
        )?;
    }
    let bounds: Vec<f64> = SIZES.iter().map(|size| *size as f64).collect();
    for (name, help, responses) in [
        ("coredns_dns_request_size_bytes", "Octets of queries", false),
        ("coredns_dns_response_size_bytes", "Octets of answers", true),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for tally in tallies {
            for (stream, proto) in ["udp", "tcp"].into_iter().enumerate() {
                let labels = [
                    ("server", tally.server.as_str()),
                    ("zone", &tally.zone),
                    ("view", ""),
                    ("proto", proto),
                ];
                let (sum, count, buckets) = read(tally, &bounds, |stripe| {
                    if responses { &stripe.response_sizes[stream] } else { &stripe.request_sizes[stream] }
                });
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
    }
    let help = "Queries that asked for DNSSEC records";
    let mut family = encoder.encode_descriptor("coredns_dns_do_requests", help, None, MetricType::Counter)?;
    for tally in tallies {
        let labels = [("server", tally.server.as_str()), ("zone", &tally.zone), ("view", "")];
        let count = tally.sum(|stripe| &stripe.dnssec);
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Sum, count, and how many values fell at or below each bound and above the one before.
fn read<const N: usize>(
    tally: &Tally,
    bounds: &[f64],
    of: impl Fn(&Stripe) -> &Distribution<N>,
) -> (f64, u64, Vec<(f64, u64)>) {
    let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(N + 1);
    for (place, bound) in bounds.iter().enumerate() {
        buckets.push((*bound, tally.sum(|stripe| &of(stripe).below[place])));
    }
    buckets.push((f64::MAX, tally.sum(|stripe| &of(stripe).above)));
    let count = buckets.iter().map(|(_, count)| count).sum();
    (tally.sum(|stripe| &of(stripe).sum) as f64, count, buckets)
}
