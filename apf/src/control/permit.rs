//! Seats that are held, or waited for: whatever happens, they are given back once.

use super::Shared;
use crate::engine::{Names, Route, Ticket};
use crate::handoff::Starter;
use crate::queueset::{Finish, Reason, RequestId};
use crate::readwrite::Phase;
use crate::seats::Work;
use std::sync::Arc;
use tokio::time::Instant;

/// Seats held while a request executes. Dropping it, also by a panic, releases them: at once, or
/// after the time that the request's effects linger.
#[derive(Debug)]
#[must_use = "dropping it gives the seats back"]
pub struct Permit {
    seats: Seats,
    work: Work,
    started_ns: u64,
}

#[derive(Debug)]
enum Seats {
    Held(Held),
    /// A level in shadow mode had none left.
    Untracked(Names),
}

/// A request in a queue. Dropping it takes it out again, or gives back what it was given meanwhile.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Present until the wait ends.
    held: Option<Held>,
    work: Work,
}

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    route: Arc<Route<Starter>>,
    id: RequestId,
    is_read: bool,
}

impl Permit {
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket<Starter>, is_read: bool, started_ns: u64) -> Self {
        let work = ticket.work;
        shared.took(work.width());
        let held = Held { shared, route: ticket.route, id: ticket.id, is_read };
        Self { seats: Seats::Held(held), work, started_ns }
    }

    pub(super) fn untracked(names: Names, work: Option<Work>) -> Self {
        Self { seats: Seats::Untracked(names), work: work.unwrap_or(Work::seats(1)), started_ns: 0 }
    }

    /// Names and identities of the schema and level.
    #[must_use]
    pub fn names(&self) -> &Names {
        match &self.seats {
            Seats::Held(held) => held.route.names(),
            Seats::Untracked(names) => names,
        }
    }

    /// The estimate of the request.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Seats::Held(Held { shared, route, id, is_read }) = &self.seats else { return };
        let now_ns = shared.at_ns(Instant::now());
        let finish = route.level().finish(now_ns, *id);
        if finish == Finish::Unknown {
            // In shadow mode it may execute although it would still wait.
            route.level().cancel(now_ns, *id);
        }
        shared.leave(now_ns, Phase::Executing, *is_read);
        shared.gave_back(self.work.width(), self.started_ns, now_ns);
        if let Finish::Lingering { until_ns } = finish {
            shared.background.release_at(until_ns, Arc::clone(route), *id);
        }
        shared.drain.left();
    }
}

impl Waiting {
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket<Starter>, is_read: bool) -> Self {
        let work = ticket.work;
        Self { held: Some(Held { shared, route: ticket.route, id: ticket.id, is_read }), work }
    }

    /// The request started.
    pub(super) fn started(mut self) -> Permit {
        let held = self.held.take().expect("the wait ends once");
        held.moved_on(self.work)
    }

    /// The request was taken out of its queue.
    pub(super) fn refused(mut self) -> Arc<Route<Starter>> {
        let held = self.held.take().expect("the wait ends once");
        held.shared.leave(held.shared.at_ns(Instant::now()), Phase::Waiting, held.is_read);
        Arc::clone(&held.route)
    }

    /// The request gives up for a reason: a permit if it started in the last moment, or its route and
    /// why it did not start.
    pub(super) fn give_up(mut self, reason: Reason) -> Result<Permit, (Arc<Route<Starter>>, Reason)> {
        let held = self.held.take().expect("the wait ends once");
        let now_ns = held.shared.at_ns(Instant::now());
        let cancelled = held.route.level().cancel(now_ns, held.id);
        if !cancelled && held.route.level().is_executing(held.id) {
            return Ok(held.moved_on(self.work));
        }
        held.shared.leave(now_ns, Phase::Waiting, held.is_read);
        // Only a shut-down takes requests out of their queues.
        let reason = if cancelled { reason } else { Reason::ShuttingDown };
        Err((Arc::clone(&held.route), reason))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let now_ns = held.shared.at_ns(Instant::now());
        held.shared.leave(now_ns, Phase::Waiting, held.is_read);
        if held.route.level().cancel(now_ns, held.id) {
            return;
        }
        // It was started, but nobody was there to execute it: nothing lingers either.
        if let Finish::Lingering { .. } = held.route.level().finish(now_ns, held.id) {
            held.route.level().release(now_ns, held.id);
        }
        held.shared.drain.left();
    }
}

impl Held {
    fn moved_on(self, work: Work) -> Permit {
        let now_ns = self.shared.at_ns(Instant::now());
        let mut in_flight = self.shared.engine.in_flight.lock();
        in_flight.leave(now_ns, Phase::Waiting, self.is_read);
        in_flight.enter(now_ns, Phase::Executing, self.is_read);
        drop(in_flight);
        self.shared.took(work.width());
        Permit { seats: Seats::Held(self), work, started_ns: now_ns }
    }
}
