//! The counts as labelled metrics.

mod cluster;
mod elsewhere;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{
    DURATIONS, Distribution, FIRST_DURATION_US, KINDS, Metrics, PLUGINS, RCODES, SIZES, Stripe, Tally, WAYS,
    buckets,
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
        searches(&tallies, &mut encoder)?;
        elsewhere::caches(&metrics, &mut encoder)?;
        elsewhere::proxies(&metrics, &mut encoder)?;
        https(&metrics, &mut encoder)?;
        cluster::followed(&metrics, &mut encoder)?;
        cluster::asked(&metrics, &mut encoder)?;
        metrics.programming.encode(&mut encoder)?;
        metrics.upkeep.encode(&mut encoder)?;
        distributions(&tallies, &mut encoder)
    }
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
        ("coredns_forward_healthcheck_broken", "Queries that found all upstreams down", &metrics.broken),
        ("seaway_dns_shed", "Queries shed while too many waited for upstreams", &metrics.shed),
    ];
    for (name, help, counter) in counters {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter.load(Ordering::Relaxed)).encode(family)?;
    }
    Ok(())
}

fn searches(tallies: &[Arc<Tally>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let (name, help) = ("coredns_autopath_success", "Searches done for clients that led to an answer");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for of_server in tallies.chunk_by(|one, other| one.server == other.server) {
        let count = of_server.iter().map(|tally| tally.searches.load(Ordering::Relaxed)).sum::<u64>();
        if count > 0 {
            let labels = [("server", of_server[0].server.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// The upper bounds of durations.
pub(super) fn seconds() -> Vec<f64> {
    (0..DURATIONS).map(|place| (FIRST_DURATION_US << place) as f64 / 1_000_000.0).collect()
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
    let seconds = seconds();
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
    let below = (0..N).map(|place| tally.sum(|stripe| &of(stripe).below[place]));
    let above = tally.sum(|stripe| &of(stripe).above);
    let buckets = buckets(bounds.iter().copied(), below.chain([above]));
    let count = buckets.iter().map(|(_, count)| count).sum();
    (tally.sum(|stripe| &of(stripe).sum) as f64, count, buckets)
}
