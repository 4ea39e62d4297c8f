//! Gradient2 of Netflix's concurrency-limits: the ratio of a long and a short mean of execution times.

use super::Measured;

/// Windows that the long mean covers.
const LONG_WINDOWS: f64 = 600.0;
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
        self.windows = (self.windows + 1.0).min(LONG_WINDOWS);
        self.long_ns += (short_ns - self.long_ns) / self.windows;
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
