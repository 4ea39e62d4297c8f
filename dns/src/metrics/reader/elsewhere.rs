//! Answers from elsewhere: caches and upstreams.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::seconds;
use crate::cache::CacheTally;
use crate::metrics::proxy::{PROTOCOLS, ProxyTally};
use crate::metrics::{Metrics, RCODES, buckets};

pub(super) fn caches(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
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

pub(super) fn proxies(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
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
