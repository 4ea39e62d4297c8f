//! What happens on its own: the borrowing tick, and the release of seats that linger.

use super::Shared;
use crate::borrow;
use crate::engine::Route;
use crate::handoff::Starter;
use crate::lock::Mutex;
use crate::queueset::RequestId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Requests whose seats are still taken after their reply, by release time, and the task that
/// releases them.
#[derive(Debug, Default)]
pub(super) struct Background {
    due: Mutex<Due>,
    woken: Notify,
    runs: AtomicBool,
}

type Due = BTreeMap<(u64, u64), (Arc<Route<Starter>>, RequestId)>;

/// Says that the task has ended, also when its runtime ends.
struct Runs(Arc<Background>);

impl Background {
    /// Starts the task, unless it runs. It ends with the last handle on the flow control, or with the
    /// runtime: the next request then starts it on the runtime it finds itself in.
    #[inline]
    pub(super) fn start(self: &Arc<Self>, shared: &Arc<Shared>) {
        if self.runs.load(Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.runs.swap(true, Ordering::Relaxed) {
            let runs = Runs(Arc::clone(self));
            drop(runtime.spawn(run(runs, Arc::downgrade(shared))));
        }
    }

    /// Lets the task look again at what it has to do.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(super) fn release_at(&self, until_ns: u64, route: Arc<Route<Starter>>, id: RequestId) {
        let mut due = self.due.lock();
        let is_first = due.first_key_value().is_none_or(|((first, _), _)| until_ns < *first);
        let order =
            due.range((until_ns, 0)..=(until_ns, u64::MAX)).next_back().map_or(0, |(key, _)| key.1 + 1);
        due.insert((until_ns, order), (route, id));
        drop(due);
        if is_first {
            self.wake();
        }
    }

    fn next_ns(&self) -> Option<u64> {
        self.due.lock().first_key_value().map(|((until, _), _)| *until)
    }

    fn release(&self, now_ns: u64) {
        let mut due = self.due.lock();
        let later = due.split_off(&(now_ns.saturating_add(1), 0));
        let over = std::mem::replace(&mut *due, later);
        drop(due);
        for (route, id) in over.into_values() {
            route.level().release(now_ns, id);
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::Relaxed);
    }
}

async fn run(runs: Runs, shared: Weak<Shared>) {
    let period = Duration::from_nanos(borrow::PERIOD_NS);
    let mut tick = Instant::now() + period;
    // Held only while something is done: the last handle on the flow control ends the task.
    while let Some(held) = shared.upgrade() {
        let now = Instant::now();
        if now >= tick {
            held.engine.tick(held.at_ns(now));
            tick = now + period;
        }
        runs.0.release(held.at_ns(now));
        let next = runs.0.next_ns().map(|at| now + Duration::from_nanos(at.saturating_sub(held.at_ns(now))));
        drop(held);
        let until = next.map_or(tick, |next| next.min(tick));
        // Woken or not, the loop looks at the clock.
        drop(timeout_at(until, runs.0.woken.notified()).await);
    }
}
