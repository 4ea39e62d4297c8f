//! Samples of a window, all measured under one total.

use super::Measured;
use crate::number;
use std::time::Duration;

/// Fewest samples of a window.
const SAMPLES_MIN: u32 = 10;

/// A request that ended.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Now, in nanoseconds.
    pub now_ns: u64,
    /// How long it executed, in nanoseconds; time in queues does not count.
    pub latency_ns: u64,
    /// Seats taken when it ended, its own among them.
    pub seats_in_use: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    start_ns: Option<u64>,
    samples: u32,
    sum_ns: f64,
    in_use: u32,
}

impl Window {
    /// Takes in a sample; returns what the window says once it is over. Requests that started before the
    /// window ran under another total, and do not count.
    pub(super) fn add(&mut self, sample: Sample, length: Duration) -> Option<Measured> {
        let start_ns = *self.start_ns.get_or_insert(sample.now_ns.saturating_sub(sample.latency_ns));
        if sample.now_ns.saturating_sub(sample.latency_ns) < start_ns {
            return None;
        }
        self.samples += 1;
        self.sum_ns += number::float(sample.latency_ns);
        self.in_use = self.in_use.max(sample.seats_in_use);
        let is_long = u128::from(sample.now_ns - start_ns) >= length.as_nanos();
        if !is_long || self.samples < SAMPLES_MIN {
            return None;
        }
        let measured = Measured {
            latency_ns: self.sum_ns / f64::from(self.samples),
            in_use: f64::from(self.in_use),
            now_ns: sample.now_ns,
        };
        *self = Self { start_ns: Some(sample.now_ns), ..Self::default() };
        Some(measured)
    }
}
