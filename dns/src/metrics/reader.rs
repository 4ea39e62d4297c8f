//! The counts as labelled metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use seaway_cluster::requests::BOUNDS_MS;

use crate::cache::CacheTally;

use super::proxy::{PROTOCOLS, ProxyTally};
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
        caches(&metrics, &mut encoder)?;
        proxies(&metrics, &mut encoder)?;
        https(&metrics, &mut encoder)?;
        followed(&metrics, &mut encoder)?;
        asked(&metrics, &mut encoder)?;
        metrics.programming.encode(&mut encoder)?;
        metrics.upkeep.encode(&mut encoder)?;
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

/// What was asked of the API server, under the names that its Go client has in CoreDNS.
fn asked(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let hosts = metrics.asked.lock();
    let (name, help) = ("coredns_kubernetes_rest_client_requests", "Requests to the API server");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (host, asked) in hosts.iter() {
        for (code, count) in &asked.by_code {
            let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
            let labels = [("code", code.as_str()), ("method", "GET"), ("host", host)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    let name = "coredns_kubernetes_rest_client_request_duration_seconds";
    let help = "How long the API server took to answer";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (host, asked) in hosts.iter() {
        let buckets = buckets(BOUNDS_MS.map(|bound| bound as f64 / 1000.0), asked.took);
        let (sum, count) = (asked.total.as_secs_f64(), asked.took.iter().sum());
        let labels = [("verb", "GET"), ("host", &**host)];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
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

fn caches(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let caches = metrics.caches.lock();
    type Count = fn(&CacheTally) -> &AtomicU64;
    let counts: [(&str, &str, Option<&str>, Count); 9] = [
        ("requests", "Queries that were looked up in the cache", None, |tally| &tally.requests),
        ("misses", "Queries that no answer in date was kept for", None, |tally| &tally.misses),
        ("prefetch", "Answers that were asked for again before their end", None, |tally| &tally.prefetch),
        ("drops", "Answers to another question, which are not kept", None, |tally| &tally.drops),
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
    let mut family =
        encoder.encode_descriptor("coredns_cache_entries", "Kept answers", None, MetricType::Gauge)?;
    for ((server, zone), tally) in caches.iter() {
        for (sort, entries) in ["success", "denial"].into_iter().zip(&tally.entries) {
            let labels = [("server", server.as_str()), ("type", sort), ("zones", zone), ("view", "")];
            let count = i64::try_from(entries.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn proxies(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let proxies = metrics.proxies.lock();
    let proxies: Vec<_> = proxies.iter().map(|(to, tally)| (to.to_string(), tally)).collect();
    let name = "coredns_proxy_request_duration_seconds";
    let mut family =
        encoder.encode_descriptor(name, "How long upstreams took", None, MetricType::Histogram)?;
    for (to, tally) in &proxies {
        for (rcode, durations) in RCODES.iter().zip(&tally.durations) {
            let labels = [("proxy_name", "forward"), ("to", to), ("rcode", rcode)];
            let buckets = buckets(seconds(), durations.counts());
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let sum = durations.sum.load(Ordering::Relaxed) as f64 / 1_000_000.0;
                family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
    }
    let name = "coredns_proxy_healthcheck_failures";
    let mut family = encoder.encode_descriptor(name, "Probes that failed", None, MetricType::Counter)?;
    for (to, tally) in &proxies {
        let labels = [("proxy_name", "forward"), ("to", to)];
        let count = tally.failures.load(Ordering::Relaxed);
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    type Count = fn(&ProxyTally) -> &[AtomicU64; PROTOCOLS.len()];
    let counts: [(&str, &str, Count); 2] = [
        ("coredns_proxy_conn_cache_hits", "Queries over a connection that had waited", |tally| &tally.reused),
        ("coredns_proxy_conn_cache_misses", "Connections that were opened", |tally| &tally.opened),
    ];
    for (name, help, of) in counts {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (to, tally) in &proxies {
            for (proto, count) in PROTOCOLS.iter().zip(of(tally)) {
                let labels = [("proxy_name", "forward"), ("to", to), ("proto", proto)];
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
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
