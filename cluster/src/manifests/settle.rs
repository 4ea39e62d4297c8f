//! When a burst of changes is over.

use std::time::{Duration, Instant};

/// Waits until nothing has changed for a while, but not for ever. Time is passed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settle {
    quiet: Duration,
    limit: Duration,
    burst: Option<Burst>,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Instant,
    last: Instant,
}

impl Settle {
    /// A burst is over after `quiet` without a change, or `limit` after its first change.
    pub(super) fn new(quiet: Duration, limit: Duration) -> Self {
        Self { quiet, limit, burst: None }
    }

    /// Something changed.
    pub(super) fn note(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |burst| burst.first);
        self.burst = Some(Burst { first, last: now });
    }

    /// When the burst will be over unless more comes; `None` without one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.burst.map(|burst| (burst.last + self.quiet).min(burst.first + self.limit))
    }

    /// Whether a burst is over; then the next change begins a new one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        if over {
            self.burst = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these milliseconds are acted on at those.
    fn check(changes_ms: &[u64], expected_ms: &[u64]) {
        let start = Instant::now();
        let mut settle = Settle::new(Duration::from_millis(100), Duration::from_millis(1000));
        let mut acted = Vec::new();
        let last = changes_ms.last().copied().unwrap_or_default() + 2000;
        for ms in 0..=last {
            let now = start + Duration::from_millis(ms);
            if settle.take(now) {
                acted.push(ms);
            }
            if changes_ms.contains(&ms) {
                settle.note(now);
            }
        }
        assert_eq!(acted, expected_ms, "{changes_ms:?}");
        assert_eq!(settle.deadline(), None);
    }

    #[test]
    fn a_burst_is_acted_on_once_it_is_quiet() {
        check(&[], &[]);
        check(&[0], &[100]);
        check(&[0, 99, 150], &[250]);
        check(&[0, 101], &[100, 201]);
    }

    #[test]
    fn a_burst_that_does_not_end_is_acted_on_at_the_limit() {
        let every_50: Vec<u64> = (0..=2100).step_by(50).collect();
        // The change at 1000 falls on the limit and begins the next burst.
        check(&every_50, &[1000, 2000, 2200]);
    }
}
