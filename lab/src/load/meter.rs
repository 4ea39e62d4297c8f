//! Counts and latencies of one phase.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hdrhistogram::Histogram;

use super::{EndpointTally, Tally};

/// Latencies above are counted as this one.
const LATENCY_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[derive(Debug)]
pub(super) struct Meter {
    failures: BTreeMap<String, u64>,
    endpoints: BTreeMap<SocketAddr, Histogram<u64>>,
    all: Histogram<u64>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { failures: BTreeMap::new(), endpoints: BTreeMap::new(), all: histogram() }
    }

    pub(super) fn answered(&mut self, endpoint: SocketAddr, latency: Duration) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.all.saturating_record(latency_us);
        self.endpoints.entry(endpoint).or_insert_with(histogram).saturating_record(latency_us);
    }

    pub(super) fn failed(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }

    pub(super) fn tally(&self) -> Tally {
        let failed = self.failures.values().sum();
        let endpoint = |(&address, histogram): (&SocketAddr, &Histogram<u64>)| {
            let (requests, p50_us, p99_us) = summary(histogram);
            (address, EndpointTally { requests, p50_us, p99_us })
        };
        let (answered, p50_us, p99_us) = summary(&self.all);
        Tally {
            requests: answered + failed,
            failed,
            failures: self.failures.clone(),
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            p50_us,
            p99_us,
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS).expect("constant bounds are in range")
}

fn summary(histogram: &Histogram<u64>) -> (u64, u64, u64) {
    (histogram.len(), histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tally_counts_answers_and_failures() {
        let [one, two] = ["10.1.1.111:80", "10.1.1.112:80"].map(|text| text.parse().unwrap());
        let mut meter = Meter::new();
        for latency_us in 1..=100 {
            meter.answered(one, Duration::from_micros(latency_us));
        }
        meter.answered(two, Duration::from_micros(7));
        meter.failed("refused".into());
        meter.failed("refused".into());
        let tally = meter.tally();
        assert_eq!((tally.requests, tally.failed, tally.failures["refused"]), (103, 2, 2));
        assert_eq!(tally.endpoints[&one], EndpointTally { requests: 100, p50_us: 50, p99_us: 99 });
        assert_eq!(tally.endpoints[&two], EndpointTally { requests: 1, p50_us: 7, p99_us: 7 });
    }

    #[test]
    fn latency_beyond_the_bound_is_kept_as_the_bound() {
        let mut meter = Meter::new();
        meter.answered("10.1.1.111:80".parse().unwrap(), Duration::from_secs(3600));
        let tally = meter.tally();
        assert_eq!(tally.requests, 1);
        assert!(tally.p99_us >= LATENCY_US_MAX, "{}", tally.p99_us);
    }
}
