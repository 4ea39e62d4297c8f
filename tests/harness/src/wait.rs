//! Waiting for a condition instead of for some time.

use std::{
    thread,
    time::{Duration, Instant},
};

const POLL_EVERY: Duration = Duration::from_millis(10);

/// Polls until `condition` holds.
///
/// # Panics
/// When it does not within `limit`; the message is about `what`.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for_some(what, limit, || condition().then_some(()));
}

/// Polls until `probe` returns something, and returns it.
///
/// # Panics
/// When it does not within `limit`; the message is about `what`.
pub fn wait_for_some<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {limit:?}");
        thread::sleep(POLL_EVERY);
    }
}
