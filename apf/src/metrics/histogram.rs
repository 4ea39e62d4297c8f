//! Histograms: of single observations, and of ratios weighted by the time they last.

use crate::number;

/// Counts observations by upper bound.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[u64]>,
    sum: f64,
}

/// Integrates the time that a ratio spends at each value: one observation per nanosecond.
#[derive(Clone, Debug)]
pub struct TimedHistogram {
    histogram: Histogram,
    /// Numerator and denominator of the value.
    ratio: (u64, u64),
    value: f64,
    bucket: usize,
    since_ns: u64,
}

impl Histogram {
    /// An empty histogram with these upper bounds, ascending; one more bucket takes the rest.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0.0 }
    }

    /// Counts one observation.
    #[inline]
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bucket(value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Adds the observations of another histogram with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
        self.sum += other.sum;
    }

    /// Upper bounds without the last, infinite one.
    #[must_use]
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// Observations per bucket, not cumulative.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the observed values.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    #[inline]
    fn bucket(&self, value: f64) -> usize {
        self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len())
    }
}

impl TimedHistogram {
    /// Starts at 0 at the given time.
    #[must_use]
    pub fn new(bounds: &'static [f64], now_ns: u64) -> Self {
        Self { histogram: Histogram::new(bounds), ratio: (0, 1), value: 0.0, bucket: 0, since_ns: now_ns }
    }

    /// The ratio has this value from now on.
    #[inline]
    pub fn set(&mut self, now_ns: u64, numerator: u64, denominator: u64) {
        self.settle(now_ns);
        if self.ratio != (numerator, denominator) {
            self.ratio = (numerator, denominator);
            self.value = number::float(numerator) / number::float(denominator.max(1));
            self.bucket = self.histogram.bucket(self.value);
        }
    }

    /// The histogram up to the given time.
    #[must_use]
    pub fn at(&self, now_ns: u64) -> Histogram {
        let mut settled = self.clone();
        settled.settle(now_ns);
        settled.histogram
    }

    #[inline]
    fn settle(&mut self, now_ns: u64) {
        let span = now_ns.saturating_sub(self.since_ns);
        if span > 0 {
            self.histogram.counts[self.bucket] += span;
            self.histogram.sum += self.value * number::float(span);
            self.since_ns = now_ns;
        }
    }
}
