//! What happens on its own: the borrowing tick, and the release of seats that linger.

use super::Shared;
use crate::borrow;
use crate::engine::Route;
use crate::handoff::Starter;
use crate::queueset::RequestId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Requests whose seats are still taken after their reply, by release time.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    due: Mutex<Due>,
    earlier: Notify,
}

type Due = BTreeMap<(u64, u64), (Arc<Route<Starter>>, RequestId)>;

impl Lingering {
    pub(super) fn push(&self, until_ns: u64, route: Arc<Route<Starter>>, id: RequestId) {
        let mut due = self.due.lock();
        let is_first = due.first_key_value().is_none_or(|((first, _), _)| until_ns < *first);
        let order =
            due.range((until_ns, 0)..=(until_ns, u64::MAX)).next_back().map_or(0, |(key, _)| key.1 + 1);
        due.insert((until_ns, order), (route, id));
        drop(due);
        if is_first {
            self.earlier.notify_one();
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

/// Runs until dropped.
pub(super) async fn run(shared: &Shared) {
    let mut tick = interval(Duration::from_nanos(borrow::PERIOD_NS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        let now_ns = shared.at_ns(Instant::now());
        let next = shared.lingering.next_ns().map(|at| Duration::from_nanos(at.saturating_sub(now_ns)));
        let release = async {
            match next {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tick.tick() => shared.engine.tick(shared.at_ns(Instant::now())),
            () = release => shared.lingering.release(shared.at_ns(Instant::now())),
            () = shared.lingering.earlier.notified() => {}
        }
    }
}
