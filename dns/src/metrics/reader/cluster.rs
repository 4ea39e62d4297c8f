//! How the cluster's facts come.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use seaway_cluster::requests::BOUNDS_MS;

use crate::metrics::{Metrics, buckets};

/// How the facts are followed: not CoreDNS's names, since it does not know.
pub(super) fn followed(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
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
pub(super) fn asked(metrics: &Metrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
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
