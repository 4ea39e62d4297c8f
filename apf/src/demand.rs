//! Demand for seats over time: its integral, and what borrowing reads from it.

use crate::number;

/// How much of the old smoothed value a quieter period keeps: a half-life of about five minutes.
pub const SMOOTHING: f64 = 0.977;

/// Integrates a value over time.
#[derive(Clone, Debug)]
pub struct Integrator {
    value: f64,
    since_ns: u64,
    span: f64,
    integral: f64,
    integral_of_squares: f64,
    min: f64,
    max: f64,
}

/// What an [`Integrator`] saw in a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// Length in seconds.
    pub seconds: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Mean over time; NaN if no time passed.
    pub mean: f64,
    /// Standard deviation over time; NaN if no time passed.
    pub deviation: f64,
}

/// Demand of a level as borrowing sees it, in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Most seats wanted in the last period.
    pub high_watermark: u32,
    /// Mean of the last period.
    pub mean: f64,
    /// Standard deviation of the last period.
    pub deviation: f64,
    /// Envelope of mean plus deviation that rises at once and falls slowly.
    pub smoothed: f64,
}

impl Integrator {
    /// Starts at 0 at the given time.
    #[must_use]
    pub const fn new(now_ns: u64) -> Self {
        Self {
            value: 0.0,
            since_ns: now_ns,
            span: 0.0,
            integral: 0.0,
            integral_of_squares: 0.0,
            min: 0.0,
            max: 0.0,
        }
    }

    /// The value from now on.
    #[inline]
    pub fn set(&mut self, now_ns: u64, value: f64) {
        self.settle(now_ns);
        self.value = value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds to the value from now on.
    pub fn add(&mut self, now_ns: u64, step: f64) {
        self.set(now_ns, self.value + step);
    }

    /// The period so far.
    #[must_use]
    pub fn get(&mut self, now_ns: u64) -> Period {
        self.settle(now_ns);
        let mean = self.integral / self.span;
        let variance = self.integral_of_squares / self.span - mean * mean;
        let deviation = if variance < 0.0 { f64::NAN } else { variance.sqrt() };
        Period { seconds: self.span, min: self.min, max: self.max, mean, deviation }
    }

    /// The period so far, and the start of a new one.
    pub fn reset(&mut self, now_ns: u64) -> Period {
        let period = self.get(now_ns);
        *self = Self { value: self.value, min: self.value, max: self.value, ..Self::new(self.since_ns) };
        period
    }

    #[inline]
    fn settle(&mut self, now_ns: u64) {
        let span = number::float(now_ns.saturating_sub(self.since_ns)) / 1e9;
        if span > 0.0 {
            self.since_ns = now_ns;
            self.span += span;
            self.integral += self.value * span;
            self.integral_of_squares += self.value * self.value * span;
        }
    }
}

impl Demand {
    /// Takes in a period that ended. A period of no length changes the high watermark only.
    pub fn update(&mut self, period: Period) {
        self.high_watermark = number::round_seats(period.max);
        if period.seconds <= 0.0 {
            return;
        }
        self.mean = period.mean;
        self.deviation = if period.deviation.is_nan() { 0.0 } else { period.deviation };
        let envelope = self.mean + self.deviation;
        self.smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
    }
}
