//! Seats that are held, or waited for: whatever happens, they are given back once.

use super::Shared;
use crate::engine::{Names, Route, Ticket};
use crate::handoff::Starter;
use crate::queueset::{Finish, RequestId};
use crate::readwrite::Phase;
use crate::seats::Work;
use std::sync::Arc;
use tokio::time::Instant;

/// Seats held while a request executes. Dropping it, also by a panic, releases them: at once, or
/// after the time that the request's effects linger.
#[derive(Debug)]
pub struct Permit {
    held: Held,
    work: Work,
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
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket<Starter>, is_read: bool) -> Self {
        let work = ticket.work;
        Self { held: Held { shared, route: ticket.route, id: ticket.id, is_read }, work }
    }

    /// Names and identities of the schema and level.
    #[must_use]
    pub fn names(&self) -> &Names {
        self.held.route.names()
    }

    /// The estimate of the request.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Held { shared, route, id, is_read } = &self.held;
        let now_ns = shared.at_ns(Instant::now());
        let finish = route.level().finish(now_ns, *id);
        shared.leave(now_ns, Phase::Executing, *is_read);
        if let Finish::Lingering { until_ns } = finish {
            shared.lingering.push(until_ns, Arc::clone(route), *id);
        }
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
        Permit { held: held.moved_on(), work: self.work }
    }

    /// The request waited too long: a permit if it started in the last moment, or its route.
    pub(super) fn give_up(mut self) -> Result<Permit, Arc<Route<Starter>>> {
        let held = self.held.take().expect("the wait ends once");
        let now_ns = held.shared.at_ns(Instant::now());
        if held.route.level().cancel(now_ns, held.id) {
            held.shared.leave(now_ns, Phase::Waiting, held.is_read);
            return Err(Arc::clone(&held.route));
        }
        Ok(Permit { held: held.moved_on(), work: self.work })
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
    }
}

impl Held {
    fn moved_on(self) -> Self {
        let now_ns = self.shared.at_ns(Instant::now());
        let mut in_flight = self.shared.engine.in_flight.lock();
        in_flight.leave(now_ns, Phase::Waiting, self.is_read);
        in_flight.enter(now_ns, Phase::Executing, self.is_read);
        drop(in_flight);
        self
    }
}
