//! Additive increase, multiplicative decrease.

use super::Measured;
use crate::number;
use std::time::Duration;

/// What is left of the total when requests take too long.
const BACK_OFF: f64 = 0.9;

#[derive(Clone, Debug)]
pub(super) struct Aimd {
    max_latency_ns: f64,
}

impl Aimd {
    pub(super) fn new(max_latency: Duration) -> Self {
        Self { max_latency_ns: number::float(u64::try_from(max_latency.as_nanos()).unwrap_or(u64::MAX)) }
    }

    pub(super) fn next(&mut self, seats: f64, measured: Measured) -> f64 {
        if measured.latency_ns > self.max_latency_ns {
            seats * BACK_OFF
        } else if measured.in_use * 2.0 >= seats {
            seats + 1.0
        } else {
            seats
        }
    }
}
