//! The hand-over of a started request from whoever freed its seats to the task that waits for them.
//!
//! One side answers, once, from any thread and without any lock of the level. The other polls, and may
//! go away at any time. An answer is never missed: the waker is stored before the state is read again.

#[cfg(loom)]
use loom::sync::Arc;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::Arc;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

use crate::level::Waiter;
use crate::lock::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const WAITING: u8 = 0;
const STARTED: u8 = 1;
const REFUSED: u8 = 2;

/// The side that answers.
#[derive(Debug)]
pub struct Starter(Arc<Handoff>);

/// The side that waits.
#[derive(Debug)]
pub(crate) struct Answer(Arc<Handoff>);

/// What became of a request that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It executes from now on.
    Started,
    /// It was taken out of its queue.
    Refused,
}

#[derive(Debug)]
struct Handoff {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

/// Both sides of one hand-over.
pub(crate) fn handoff() -> (Starter, Answer) {
    let both = Arc::new(Handoff { state: AtomicU8::new(WAITING), waker: Mutex::new(None) });
    (Starter(Arc::clone(&both)), Answer(both))
}

impl Waiter for Starter {
    fn start(self) {
        self.0.answer(STARTED);
    }

    fn refuse(self) {
        self.0.answer(REFUSED);
    }
}

impl Future for Answer {
    type Output = Signal;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Signal> {
        if let Some(signal) = self.0.signal() {
            return Poll::Ready(signal);
        }
        let mut waker = self.0.waker.lock();
        match &mut *waker {
            Some(known) => known.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
        drop(waker);
        self.0.signal().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Handoff {
    fn answer(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn signal(&self) -> Option<Signal> {
        match self.state.load(Ordering::Acquire) {
            STARTED => Some(Signal::Started),
            REFUSED => Some(Signal::Refused),
            _ => None,
        }
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p seaway-apf --lib --release handoff`.
#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;
    use crate::flow::Distinguisher;
    use crate::level::Level;
    use crate::limits::Wishes;
    use crate::queueset::{Arrival, Config, Decision, QueueSet};
    use crate::seats::Work;
    use loom::thread;

    #[test]
    fn no_start_is_missed_in_any_interleaving() {
        loom::model(|| {
            let (starter, answer) = handoff();
            let other = thread::spawn(move || starter.start());
            assert_eq!(loom::future::block_on(answer), Signal::Started);
            other.join().unwrap();
        });
    }

    #[test]
    fn a_waiter_may_go_away_in_any_interleaving() {
        loom::model(|| {
            let (starter, mut answer) = handoff();
            let other = thread::spawn(move || starter.start());
            let mut context = Context::from_waker(Waker::noop());
            let first = Pin::new(&mut answer).poll(&mut context);
            drop(answer);
            other.join().unwrap();
            assert!(matches!(first, Poll::Ready(Signal::Started) | Poll::Pending));
        });
    }

    /// One seat: it is given back while the request that waits for it gives up.
    #[test]
    fn giving_up_against_a_start_loses_no_seat_and_no_request() {
        loom::model(|| {
            let config = Config { queues: 1, hand_size: 1, queue_length_limit: 5, seats: 1 };
            let queues = QueueSet::new(config, Behaviour::IMPROVED, 0).unwrap();
            let level = Arc::new(Level::new("level", "", Wishes::default(), queues));
            let (starter, mut answer) = handoff();
            let mut starter = Some(starter);
            let (held, waits) = level.with(|state| {
                let schema = state.queues.schema(&"s".into(), Distinguisher::None, false);
                let arrival = || Arrival {
                    hash: 0,
                    work: Work::seats(1),
                    weight: 1,
                    schema,
                    detail: std::sync::Arc::default(),
                };
                let Decision::Executing(held) = state.queues.arrive(0, arrival(), |_| unreachable!()) else {
                    unreachable!()
                };
                let Decision::Waiting(waits) =
                    state.queues.arrive(0, arrival(), |_| starter.take().expect("one waits"))
                else {
                    unreachable!()
                };
                (held, waits)
            });
            let other = thread::spawn({
                let level = Arc::clone(&level);
                move || level.finish(1, held)
            });
            let mut context = Context::from_waker(Waker::noop());
            let started = Pin::new(&mut answer).poll(&mut context).is_ready();
            let gave_up = !started && level.cancel(1, waits);
            if !gave_up {
                assert!(level.is_executing(waits), "what cannot be cancelled any more has started");
                level.finish(2, waits);
            }
            other.join().unwrap();
            let totals = level.view().totals;
            assert_eq!((totals.waiting, totals.executing, totals.seats_in_use), (0, 0, 0));
            assert_eq!(totals.dispatched + totals.cancelled, 2);
        });
    }
}
