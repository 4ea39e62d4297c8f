//! The hand-over of a started request from whoever freed its seats to the task that waits for them.
//!
//! One side starts, once, from any thread and without any lock of the level. The other polls, and may
//! go away at any time. A start is never missed: the waker is stored before the state is read again.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(loom)]
use loom::sync::{Arc, Mutex};
#[cfg(not(loom))]
use parking_lot::Mutex;
#[cfg(not(loom))]
use std::sync::Arc;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

use crate::level::Waiter;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The side that starts.
#[derive(Debug)]
pub struct Starter(Arc<Handoff>);

/// The side that waits.
#[derive(Debug)]
pub(crate) struct Started(Arc<Handoff>);

#[derive(Debug)]
struct Handoff {
    started: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Both sides of one hand-over.
pub(crate) fn handoff() -> (Starter, Started) {
    let both = Arc::new(Handoff { started: AtomicBool::new(false), waker: Mutex::new(None) });
    (Starter(Arc::clone(&both)), Started(both))
}

impl Waiter for Starter {
    fn start(self) {
        self.0.started.store(true, Ordering::Release);
        let waker = self.0.with_waker(Option::take);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Started {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.started.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.0.with_waker(|waker| match waker {
            Some(known) => known.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        });
        if self.0.started.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Handoff {
    fn with_waker<T>(&self, change: impl FnOnce(&mut Option<Waker>) -> T) -> T {
        #[cfg(loom)]
        let mut waker = self.waker.lock().expect("no thread panics under the lock");
        #[cfg(not(loom))]
        let mut waker = self.waker.lock();
        change(&mut waker)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::thread;

    #[test]
    fn no_start_is_missed_in_any_interleaving() {
        loom::model(|| {
            let (starter, started) = handoff();
            let other = thread::spawn(move || starter.start());
            loom::future::block_on(started);
            other.join().unwrap();
        });
    }

    #[test]
    fn a_waiter_may_go_away_in_any_interleaving() {
        loom::model(|| {
            let (starter, mut started) = handoff();
            let other = thread::spawn(move || starter.start());
            let mut context = Context::from_waker(Waker::noop());
            let first = Pin::new(&mut started).poll(&mut context);
            drop(started);
            other.join().unwrap();
            assert!(matches!(first, Poll::Ready(()) | Poll::Pending));
        });
    }
}
