//! One kept answer: its age, how often it is asked for, and who sees to a newer one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::options::Prefetch;
use crate::wire::relay::Relayed;

/// Whoever sees to a newer answer is given this long; then somebody else may.
const CLAIM: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) answer: Relayed,
    pub(super) ttl_s: u32,
    pub(super) denial: bool,
    since: Instant,
    hits: AtomicU32,
    /// When it was asked for last, and until when somebody sees to a newer one, in milliseconds of its age.
    hit_ms: AtomicU64,
    claimed_ms: AtomicU64,
}

impl Kept {
    /// An answer that has just come, asked for as often as the one before it.
    pub(super) fn new(
        answer: Relayed,
        ttl_s: u32,
        denial: bool,
        now: Instant,
        before: Option<&Self>,
    ) -> Self {
        let hits = before.map_or(0, |before| before.hits.load(Ordering::Relaxed));
        Self {
            answer,
            ttl_s,
            denial,
            since: now,
            hits: AtomicU32::new(hits),
            hit_ms: AtomicU64::new(0),
            claimed_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn age_s(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX)
    }

    /// Counts a hit; tells whether the answer is to be asked for again before it ends.
    pub(super) fn hit(&self, prefetch: Prefetch, now: Instant) -> bool {
        let now_ms = self.age_ms(now);
        let pause = now_ms.saturating_sub(self.hit_ms.swap(now_ms, Ordering::Relaxed));
        if u128::from(pause) > prefetch.window.as_millis() {
            self.hits.store(0, Ordering::Relaxed);
        }
        let hits = self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let left_s = u64::from(self.ttl_s.saturating_sub(self.age_s(now)));
        let due = left_s * 100 <= u64::from(self.ttl_s) * u64::from(prefetch.percent);
        hits >= prefetch.hits && due && self.claim(now)
    }

    /// Whether the caller is the one to see to a newer answer.
    pub(super) fn claim(&self, now: Instant) -> bool {
        let now_ms = self.age_ms(now);
        let until = self.claimed_ms.load(Ordering::Relaxed);
        let claimed = now_ms + u64::try_from(CLAIM.as_millis()).unwrap_or(u64::MAX);
        let exchange =
            || self.claimed_ms.compare_exchange(until, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        now_ms >= until && exchange()
    }

    fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}
