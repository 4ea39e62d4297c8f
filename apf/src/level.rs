//! One level of a running server: its queue set, its demand and its Retry-After, behind one lock.

use crate::borrow::Party;
use crate::demand::Demand;
use crate::limits::{Limits, Wishes};
use crate::lock::{Mutex, MutexGuard};
use crate::metrics::Page;
use crate::queueset::{Finish, QueueSet, RequestId, Totals};
use crate::request::Attributes;
use crate::retry::{self, RetryAfter};
use crate::topk::{Flow, TopFlows};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Told when its request starts to execute, outside all locks.
pub trait Waiter {
    /// The request executes from now on.
    fn start(self);

    /// The request was taken out of its queue, because the server is shutting down.
    fn refuse(self)
    where
        Self: Sized,
    {
    }
}

/// One level of a running server.
#[derive(Debug)]
pub struct Level<W> {
    name: Arc<str>,
    /// Kept beside the lock because the estimate comes before it is taken.
    max_seats: AtomicU32,
    /// How long a request may wait, in nanoseconds; 0 for what the settings say.
    max_wait_ns: AtomicU64,
    /// Whether nobody waits or is refused.
    shadow: AtomicBool,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
pub(crate) struct State<W> {
    pub queues: QueueSet<Arc<Attributes>, W>,
    pub uid: Arc<str>,
    pub wishes: Wishes,
    pub limits: Limits,
    pub demand: Demand,
    pub target: f64,
    pub quiescing: bool,
    /// Whether the level was given its nominal seats before the next tick.
    pub claimed: bool,
    pub retry: RetryAfter,
    pub top: TopFlows,
    jitter: u64,
}

/// What a level looks like from outside.
#[derive(Clone, Debug)]
pub struct LevelView {
    /// Its name.
    pub name: Arc<str>,
    /// Whether its object is gone and it only waits for its requests to end.
    pub quiescing: bool,
    /// Limits in seats.
    pub limits: Limits,
    /// Concurrency limit in force.
    pub seats: u32,
    /// Most seats of one request; 0 for levels without queues.
    pub max_seats: u32,
    /// Requests and seats.
    pub totals: Totals,
    /// Demand in the last period.
    pub demand: Demand,
    /// The busiest flows.
    pub top: Vec<Flow>,
}

impl<W: Waiter> Level<W> {
    pub(crate) fn new(name: &str, uid: &str, wishes: Wishes, queues: QueueSet<Arc<Attributes>, W>) -> Self {
        let state = State {
            queues,
            uid: uid.into(),
            wishes,
            limits: Limits::default(),
            demand: Demand::default(),
            target: 0.0,
            quiescing: false,
            claimed: false,
            retry: RetryAfter::default(),
            top: TopFlows::default(),
            jitter: 0,
        };
        Self {
            name: name.into(),
            max_seats: AtomicU32::new(0),
            max_wait_ns: AtomicU64::new(0),
            shadow: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Most seats that one request may take; 0 for levels without queues.
    #[must_use]
    pub fn max_seats(&self) -> u32 {
        self.max_seats.load(Ordering::Relaxed)
    }

    /// The reply of a request is done, or its handler panicked.
    pub fn finish(&self, now_ns: u64, id: RequestId) -> Finish {
        self.with(|state| state.queues.finish(now_ns, id))
    }

    /// The effects of a request that ended are over.
    pub fn release(&self, now_ns: u64, id: RequestId) {
        self.with(|state| state.queues.release(now_ns, id));
    }

    /// A waiting request gives up; returns false if it executes already.
    pub fn cancel(&self, now_ns: u64, id: RequestId) -> bool {
        self.with(|state| {
            let cancelled = state.queues.cancel(now_ns, id);
            if cancelled {
                state.retry.dropped(now_ns / 1_000_000_000);
            }
            cancelled
        })
    }

    /// Takes all waiting requests out of their queues and refuses them.
    pub(crate) fn refuse_waiting(&self, now_ns: u64) {
        for waiter in self.with(|state| state.queues.cancel_all(now_ns)) {
            waiter.refuse();
        }
    }

    /// Whether a request executes; one that lingers does not.
    #[must_use]
    pub fn is_executing(&self, id: RequestId) -> bool {
        self.state.lock().queues.is_executing(id)
    }

    /// How long its requests may wait, if it says so itself.
    #[must_use]
    pub fn max_wait(&self) -> Option<Duration> {
        Some(self.max_wait_ns.load(Ordering::Relaxed)).filter(|ns| *ns > 0).map(Duration::from_nanos)
    }

    /// Whether its requests neither wait nor are refused, and are only counted as if.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    pub(crate) fn set_max_wait(&self, wait: Option<Duration>) {
        // A wait of zero is one that has passed at once.
        let ns = wait.map_or(0, |wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.max_wait_ns.store(ns, Ordering::Relaxed);
    }

    /// Seconds after which a refused client should come back.
    #[must_use]
    pub fn retry_after_s(&self, from_drain: bool) -> u64 {
        let mut state = self.state.lock();
        if from_drain {
            let random = state.random();
            retry::after_drain(state.queues.drain_ns(), random)
        } else {
            state.retry.seconds()
        }
    }

    /// What it looks like now.
    #[must_use]
    pub fn view(&self) -> LevelView {
        let state = self.state.lock();
        LevelView {
            name: Arc::clone(&self.name),
            quiescing: state.quiescing,
            limits: state.limits,
            seats: state.queues.config().seats,
            max_seats: self.max_seats(),
            totals: state.queues.totals(),
            demand: state.demand,
            top: state.top.flows(),
        }
    }

    /// Puts its counts on a page of metrics.
    pub fn export(&self, now_ns: u64, page: &mut Page) {
        let state = self.state.lock();
        state.queues.export(&self.name, now_ns, page);
        for (family, value) in [
            ("nominal_limit_seats", f64::from(state.limits.nominal)),
            ("lower_limit_seats", f64::from(state.limits.min)),
            ("upper_limit_seats", f64::from(state.limits.max)),
            ("demand_seats_high_watermark", f64::from(state.demand.high_watermark)),
            ("demand_seats_average", state.demand.mean),
            ("demand_seats_stdev", state.demand.deviation),
            ("demand_seats_smoothed", state.demand.smoothed),
            ("target_seats", state.target),
        ] {
            page.number(family, &[&self.name], value);
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock()
    }

    /// Does something under the lock, then tells those who start by it.
    pub(crate) fn with<T>(&self, operation: impl FnOnce(&mut State<W>) -> T) -> T {
        let mut state = self.state.lock();
        let result = operation(&mut state);
        let ready = state.queues.take_ready();
        drop(state);
        for (_, waiter) in ready {
            waiter.start();
        }
        result
    }

    pub(crate) fn set_max_seats(&self, seats: u32) {
        self.max_seats.store(seats, Ordering::Relaxed);
    }
}

impl<W> State<W> {
    pub(crate) fn party(&self) -> Party {
        Party {
            exempt: self.wishes.exempt,
            limits: self.limits,
            demand: self.demand,
            seats: self.queues.config().seats,
            target: 0.0,
        }
    }

    /// A number from 0 to 1 that differs from call to call (splitmix64).
    fn random(&mut self) -> f64 {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        crate::number::float((z ^ (z >> 31)) >> 11) / crate::number::float(1 << 53)
    }
}
