//! Vegas: the total follows the queue in the server (Brakmo and Peterson 1995, as in Netflix's
//! concurrency-limits), with two changes for servers that become slower:
//!
//! * the execution time of an idle server is measured anew every few seconds, with half of the seats;
//! * when fewer seats do not make requests faster, the server is slower, not busier: what it takes now is
//!   the new time of an idle server.

use super::Measured;

/// Time between two measurements of the idle server, in nanoseconds.
const PROBE_NS: u64 = 10_000_000_000;
/// Time to the first one: who starts with too many seats has seen no idle server yet.
const FIRST_PROBE_NS: u64 = 1_000_000_000;
/// Part of the seats that are left while it is measured.
const PROBE_PART: f64 = 0.5;
/// A total that is cut by this part should make requests faster by half of it.
const CUT: f64 = 0.8;

#[derive(Clone, Debug, Default)]
pub(super) struct Vegas {
    /// Execution time on an idle server; 0 before the first window.
    idle_ns: f64,
    next_probe_ns: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Cruise,
    /// Half of the seats are in use, to go back to this many.
    Probe(f64),
    /// The seats were cut, from this latency.
    Cut(f64),
}

impl Vegas {
    /// The next total, and whether it is not to be smoothed.
    pub(super) fn next(&mut self, seats: f64, measured: Measured) -> (f64, bool) {
        let latency_ns = measured.latency_ns.max(1.0);
        if self.idle_ns == 0.0 {
            self.next_probe_ns = measured.now_ns.saturating_add(FIRST_PROBE_NS);
            self.idle_ns = latency_ns;
        }
        self.idle_ns = self.idle_ns.min(latency_ns);
        match std::mem::take(&mut self.phase) {
            Phase::Probe(before) => {
                self.idle_ns = latency_ns;
                self.next_probe_ns = measured.now_ns.saturating_add(PROBE_NS);
                return (before, true);
            }
            // Fewer at once would have been faster in a server that was too full.
            Phase::Cut(before_ns) if latency_ns > before_ns * (1.0 + CUT) / 2.0 => self.idle_ns = latency_ns,
            Phase::Cut(_) | Phase::Cruise => {}
        }
        if measured.in_use * 2.0 < seats {
            return (seats, false);
        }
        if measured.now_ns >= self.next_probe_ns {
            self.phase = Phase::Probe(seats);
            return (seats * PROBE_PART, true);
        }
        let step = seats.log10().max(1.0);
        let queue = seats * (1.0 - self.idle_ns / latency_ns);
        let next = if queue > 12.0 * step {
            (seats * (self.idle_ns / latency_ns).max(0.5) + 3.0 * step).min(seats)
        } else if queue > 6.0 * step {
            seats - step
        } else if queue <= step {
            seats + 6.0 * step
        } else if queue < 3.0 * step {
            seats + step
        } else {
            seats
        };
        if next <= seats * CUT {
            self.phase = Phase::Cut(latency_ns);
        }
        (next, false)
    }
}
