//! How old facts may be: when a source last confirmed them, and what its watches had lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Kind;

/// Facts that nothing has confirmed for this long are stale. An API server confirms them about once
/// a minute, and a watch that is cut is back within half a minute of the server.
pub const STALE_AFTER: Duration = Duration::from_mins(5);

/// The state of what is followed, by kind; shared by all updates of a source. A folder of manifests
/// has none: it is looked at whole, and never stale.
#[derive(Clone, Debug, Default)]
pub struct Freshness(Arc<Mutex<BTreeMap<Kind, Followed>>>);

/// How a kind is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// When the source last sent something about the kind: a list, a change or a bookmark.
    pub confirmed: Instant,
    /// How often a watch was found that had stopped telling of changes.
    pub lost: u64,
}

/// Facts that nothing has confirmed for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} objects were not confirmed for {} s", .age.as_secs())]
pub struct Stale {
    /// Their kind.
    pub kind: Kind,
    /// How long ago they were confirmed last.
    pub age: Duration,
}

impl Freshness {
    /// The kind that has been unconfirmed for the longest, if that is longer than [`STALE_AFTER`].
    pub fn stale(&self, now: Instant) -> Option<Stale> {
        let all = self.followed();
        let ages = all.iter().map(|(kind, it)| Stale { kind: *kind, age: it.age(now) });
        ages.filter(|stale| stale.age > STALE_AFTER).max_by_key(|stale| stale.age)
    }

    /// Every kind that is followed.
    pub fn followed(&self) -> BTreeMap<Kind, Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The facts of a kind hold at this moment.
    pub fn confirm(&self, kind: Kind, now: Instant) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_insert(Followed { confirmed: now, lost: 0 }).confirmed = now;
    }

    /// A watch of a kind had stopped telling of changes.
    pub fn lose(&self, kind: Kind, now: Instant) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_insert(Followed { confirmed: now, lost: 0 }).lost += 1;
    }

    /// The kind is not followed any more.
    pub fn forget(&self, kind: Kind) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&kind);
    }
}

impl Followed {
    /// How long ago the facts were confirmed.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_facts_make_a_source_stale_and_confirming_them_fresh() {
        let (freshness, start) = (Freshness::default(), Instant::now());
        let at = |seconds| start + STALE_AFTER + Duration::from_secs(seconds);
        assert_eq!(freshness.stale(at(9)), None);
        freshness.confirm(Kind::Service, start);
        freshness.confirm(Kind::Node, start + Duration::from_secs(2));
        freshness.lose(Kind::Node, start);
        assert_eq!(freshness.stale(at(0)), None);
        let stale = freshness.stale(at(9)).map(|stale| stale.to_string());
        assert_eq!(stale.as_deref(), Some("Service objects were not confirmed for 309 s"));
        freshness.confirm(Kind::Service, at(9));
        assert_eq!(freshness.stale(at(9)).map(|stale| stale.kind), Some(Kind::Node));
        freshness.forget(Kind::Node);
        assert_eq!(freshness.stale(at(9)), None);
    }
}
