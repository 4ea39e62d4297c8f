//! Shutting down: nobody waits or starts any more, and what executes ends.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Whether the server is shutting down, and who waits for its last request.
#[derive(Debug, Default)]
pub(super) struct Drain {
    closed: AtomicBool,
    left: Notify,
}

impl Drain {
    /// Nobody starts from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A request has ended.
    #[inline]
    pub(super) fn left(&self) {
        if self.is_closed() {
            self.left.notify_waiters();
        }
    }

    /// Returns when `is_idle` says so. It is asked again after each request that ends.
    pub(super) async fn wait(&self, is_idle: impl Fn() -> bool) {
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            // From here on no end is missed.
            left.as_mut().enable();
            if is_idle() {
                return;
            }
            left.await;
        }
    }
}
