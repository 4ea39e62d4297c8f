//! Waits between attempts: twice as long each time, and never the same on two nodes.

use std::time::Duration;

/// The waits after failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure. `random` picks a place between half of it and all of it, so
    /// that a thousand agents that lost one server do not come back at once.
    pub(super) fn wait(&mut self, random: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        whole.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

/// A random number for [`Backoff::wait`]. Without a source of randomness all nodes wait alike.
pub(super) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new((Duration::from_millis(200), Duration::from_secs(1)));
        let mut check = |random: u32, expected_ms: u64| {
            assert_eq!(backoff.wait(random), Duration::from_millis(expected_ms));
        };
        check(u32::MAX, 200);
        check(u32::MAX, 400);
        check(0, 400);
        check(u32::MAX, 1000);
        check(0, 500);
        backoff.reset();
        assert_eq!(backoff.wait(0), Duration::from_millis(100));
    }
}
