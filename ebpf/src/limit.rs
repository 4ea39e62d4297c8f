//! How many ICMP errors are sent: as many as the kernel itself sends at most (`icmp_ratelimit`,
//! `icmp_msgs_per_sec` and `icmp_msgs_burst`, with their defaults).
//!
//! Two buckets of tokens: one for each address that errors go to, one for all. Neither is locked: CPUs that take
//! from one at the same time may send an error more.

/// Errors that go to one address at once.
const PEER_BURST: u64 = 6;
/// Errors a second, and at once, to all addresses.
const ALL_PER_S: u64 = 1000;
const ALL_BURST: u64 = 50;
const MS_PER_S: u64 = 1000;

/// What is left of a limit. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Kernel ticks when it was last filled; 0: never, it is full.
    at: u64,
    /// Tokens: one comes each tick and costs differ, so that nothing is divided.
    tokens: u64,
}

/// The clock, and how often an address may be told.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Now, in kernel ticks.
    pub now: u64,
    /// Ticks a second.
    pub ticks_per_s: u64,
    /// Milliseconds between errors to one address.
    pub interval_ms: u32,
    /// A random number: who counts answers to somebody else learns nothing about others from them
    /// (CVE-2020-25705).
    pub random: u32,
}

impl Bucket {
    /// Whether one more error may go to an address; `self` is its bucket and `all` everybody's.
    #[inline(always)]
    pub fn allows(&mut self, all: &mut Self, pace: &Pace) -> bool {
        // Tokens of a thousandth of a tick, so that the interval need not be a number of ticks.
        let interval = u64::from(pace.interval_ms) * pace.ticks_per_s;
        if !self.fill(MS_PER_S, PEER_BURST * interval, pace.now, interval) {
            return false;
        }
        if !all.fill(ALL_PER_S, ALL_BURST * pace.ticks_per_s, pace.now, pace.ticks_per_s) {
            return false;
        }
        self.tokens -= interval;
        // One on average.
        let cost = u64::from(pace.random % 3) * pace.ticks_per_s;
        all.tokens = all.tokens.saturating_sub(cost);
        true
    }

    /// Fills up for the time that has passed, and says whether `least` are in it.
    #[inline(always)]
    fn fill(&mut self, each_tick: u64, most: u64, now: u64, least: u64) -> bool {
        let passed = now.saturating_sub(self.at);
        let tokens = if self.at == 0 || passed > most { most } else { self.tokens + passed * each_tick };
        self.tokens = if tokens < most { tokens } else { most };
        self.at = now;
        self.tokens >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 250;

    /// Errors that go out of `asked` each tick for so many ticks.
    fn sent(bucket: &mut Bucket, all: &mut Bucket, from: u64, ticks: u64, asked: u64) -> usize {
        let pace = |now| Pace { now, ticks_per_s: HZ, interval_ms: 1000, random: 1 };
        let moments = (from..from + ticks).flat_map(|now| (0..asked).map(move |_| now));
        moments.filter(|now| bucket.allows(all, &pace(*now))).count()
    }

    #[test]
    fn one_address_is_told_six_times_and_then_once_a_second() {
        let (mut peer, mut all) = (Bucket::default(), Bucket::default());
        assert_eq!(sent(&mut peer, &mut all, 1000, 1, 5000), 6);
        assert_eq!(sent(&mut peer, &mut all, 1001, 10 * HZ, 20), 10);
        // After a long silence the bucket is full again, and no fuller.
        assert_eq!(sent(&mut peer, &mut all, 1_000_000, 1, 5000), 6);
    }

    #[test]
    fn all_addresses_are_told_fifty_times_and_then_a_thousand_times_a_second() {
        let mut all = Bucket::default();
        let mut each = |from, ticks, asked| {
            let moments = (from..from + ticks).flat_map(|now| (0..asked).map(move |_| now));
            let pace = |now| Pace { now, ticks_per_s: HZ, interval_ms: 1000, random: 1 };
            moments.filter(|now| Bucket::default().allows(&mut all, &pace(*now))).count()
        };
        assert_eq!(each(1000, 1, 5000), 50);
        assert_eq!(each(1001, 10 * HZ, 20), 10_000);
    }
}
