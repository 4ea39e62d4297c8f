//! What was asked of an API server, counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of durations, in milliseconds.
pub const BOUNDS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// Requests to an API server; shared by all updates of a source. A folder of manifests has none.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<Arc<str>, Asked>>>);

/// What was asked of one host, always with GET.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How often it answered with a status; `None`: not at all.
    pub by_code: BTreeMap<Option<u16>, u64>,
    /// How often it took at most the bound, and more than the one before; the last is above all of them.
    /// Watches are answered when they begin.
    pub took: [u64; BOUNDS_MS.len() + 1],
    /// How long all of them took.
    pub total: Duration,
}

impl Requests {
    /// By host and port.
    pub fn asked(&self) -> BTreeMap<Arc<str>, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request came to an end.
    pub(crate) fn note(&self, host: &Arc<str>, code: Option<u16>, took: Duration) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = hosts.entry(Arc::clone(host)).or_default();
        *asked.by_code.entry(code).or_default() += 1;
        asked.took[BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took)] += 1;
        asked.total += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_status_and_by_how_long_they_took() {
        let (requests, host) = (Requests::default(), Arc::from("a:6443"));
        for (code, ms) in [(Some(200), 5), (Some(200), 6), (Some(410), 1), (None, 20_000)] {
            requests.note(&host, code, Duration::from_millis(ms));
        }
        let asked = &requests.asked()[&host];
        assert_eq!(asked.by_code, [(None, 1), (Some(200), 2), (Some(410), 1)].into());
        assert_eq!(asked.took, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(asked.total, Duration::from_millis(20_012));
    }
}
