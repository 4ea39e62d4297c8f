//! Gradient2 of Netflix's concurrency-limits: the ratio of a long and a short mean of execution times.
//!
//! It knows no idle server: under a flood that never ends the long mean follows the queue in the server,
//! and the total drifts up, by some seats a second. Quiet times bring it back.

use super::Measured;

/// Windows that the long mean covers.
const LONG_WINDOWS: f64 = 600.0;
/// Windows at the start in which it is a plain mean.
const WARM_UP: f64 = 10.0;
/// By how much requests may take longer than their long mean without the total being lowered.
const TOLERANCE: f64 = 1.5;
/// Seats that a window may add: the queue that is allowed in the server.
const QUEUE: f64 = 4.0;
/// The long mean falls so far per window while it is far above the short one: after an overload.
const DECAY: f64 = 0.95;

#[derive(Clone, Debug, Default)]
pub(super) struct Gradient2 {
    long_ns: f64,
    windows: f64,
}

impl Gradient2 {
    pub(super) fn next(&mut self, seats: f64, measured: Measured) -> f64 {
        let short_ns = measured.latency_ns;
        self.windows += 1.0;
        let weight = if self.windows <= WARM_UP { 1.0 / self.windows } else { 2.0 / (LONG_WINDOWS + 1.0) };
        self.long_ns += (short_ns - self.long_ns) * weight;
        if self.long_ns > 2.0 * short_ns {
            self.long_ns *= DECAY;
        }
        if measured.in_use * 2.0 < seats {
            return seats;
        }
        let gradient = (TOLERANCE * self.long_ns / short_ns.max(1.0)).clamp(0.5, 1.0);
        seats * gradient + QUEUE
    }
}
