//! Flow control of a whole server, driven by events: time is a parameter of every operation.
//!
//! ```text
//! request ─ classify ─ estimate ─ hash ─┐ read lock on the table
//!                                       └─ level: arrive ─ execute │ wait │ refuse
//! objects ─ digest ─ table (write lock) ─ limits ─┐
//! tick, or a level in need ───────────────────────┴─ adjust ─ seats of each level
//! ```
//!
//! Locks are taken in this order: table, adjustment, one level at a time. Those who start are told
//! when no level is locked.

mod adjust;
mod digest;
mod explain;

pub use crate::queueset::Reason;
pub use crate::refusal::Refusal;
pub use crate::settings::Settings;
pub use digest::{Dangling, Digested};
pub use explain::Explanation;

use crate::annotations::WEIGHT_MAX;
use crate::behaviour::Behaviour;
use crate::builtin;
use crate::classify::Classifier;
use crate::estimate;
use crate::flow::{self, Distinguisher};
use crate::level::{Level, LevelView, Waiter};
use crate::lock::{Mutex, RwLock};
use crate::metrics::Page;
use crate::objects::ObjectTracker;
use crate::queueset::{Arrival, Decision, RequestId};
use crate::read::Configuration;
use crate::readwrite::InFlight;
use crate::request::{Attributes, Verb};
use crate::seats::Work;
use crate::watches::WatchTracker;
use adjust::Occasion;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Flow control of a whole server.
#[derive(Debug)]
pub struct Engine<W> {
    settings: Settings,
    /// As in the settings, until it is changed.
    server_seats: AtomicU32,
    table: RwLock<Table<W>>,
    adjusting: Mutex<f64>,
    /// Watches that run, for the estimates of mutating requests.
    pub watches: WatchTracker,
    /// Objects stored, for the estimates of lists.
    pub objects: ObjectTracker,
    /// Requests in flight by kind.
    pub(crate) in_flight: Mutex<InFlight>,
}

#[derive(Debug)]
struct Table<W> {
    classifier: Classifier,
    routes: Vec<Arc<Route<W>>>,
    catch_all: usize,
    levels: BTreeMap<Arc<str>, Arc<Level<W>>>,
}

/// The way of a schema's requests: to its level, and how they are told apart.
#[derive(Debug)]
pub struct Route<W> {
    names: Names,
    distinguisher: Distinguisher,
    /// State of the flow hash after the name; `None` where all requests have one hash.
    prefix: Option<Sha256>,
    level: Arc<Level<W>>,
    /// Weight of each of its flows.
    weight: u32,
    /// Rows in the level's statistics, of regular requests and of watches.
    rows: [u32; 2],
}

/// Names and identities of a schema and its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Name of the schema.
    pub schema: Arc<str>,
    /// Identity of the schema's object; empty for a built-in without one.
    pub schema_uid: Arc<str>,
    /// Name of the level.
    pub level: Arc<str>,
    /// Identity of the level's object; empty for a built-in without one.
    pub level_uid: Arc<str>,
}

/// What became of a request that arrived.
#[derive(Debug)]
pub enum Admission<W> {
    /// It executes, or waits to.
    Accepted(Ticket<W>),
    /// It is refused.
    Refused(Refusal),
    /// It is counted as refused, but executes all the same: its level is in shadow mode.
    Untracked(Names),
}

/// A request that executes, or waits to.
#[derive(Debug)]
pub struct Ticket<W> {
    /// How it was classified.
    pub route: Arc<Route<W>>,
    /// Its name in its level, to finish or cancel it there.
    pub id: RequestId,
    /// Whether it waited when it arrived. It may have started since.
    pub waits: bool,
    /// Its estimate.
    pub work: Work,
}

impl<W: Waiter> Route<W> {
    /// Names and identities.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The level.
    #[must_use]
    pub const fn level(&self) -> &Arc<Level<W>> {
        &self.level
    }

    /// The refusal of one of its requests.
    #[must_use]
    pub fn refusal(&self, reason: Reason, behaviour: Behaviour) -> Refusal {
        let retry_after_s = self.level.retry_after_s(behaviour.retry_after_drain);
        Refusal::new(reason, retry_after_s, self.names.clone())
    }
}

impl<W: Waiter> Engine<W> {
    /// An engine with the mandatory objects only, until [`Engine::digest`] is called.
    #[must_use]
    pub fn new(settings: Settings, now_ns: u64) -> Self {
        let table = Table {
            classifier: Classifier::default(),
            routes: Vec::new(),
            catch_all: 0,
            levels: BTreeMap::new(),
        };
        let engine = Self {
            settings: settings.seats(settings.server_seats.max(1)),
            server_seats: AtomicU32::new(settings.server_seats.max(1)),
            table: RwLock::new(table),
            adjusting: Mutex::new(0.0),
            watches: WatchTracker::default(),
            objects: ObjectTracker::default(),
            in_flight: Mutex::new(InFlight::new(now_ns)),
        };
        engine.digest(now_ns, &Configuration::default());
        engine
    }

    /// The settings it was made with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Seats of the whole server.
    #[must_use]
    pub fn server_seats(&self) -> u32 {
        self.server_seats.load(Ordering::Relaxed)
    }

    /// Sets the seats of the whole server and shares them out.
    pub fn set_seats(&self, now_ns: u64, seats: u32) {
        let seats = seats.max(1);
        if self.server_seats.swap(seats, Ordering::Relaxed) != seats {
            let table = self.table.read();
            self.set_limits_of(&table.levels);
            self.adjust(&table, now_ns, &Occasion::Resize);
        }
    }

    /// Refuses all requests that wait.
    pub fn refuse_waiting(&self, now_ns: u64) {
        self.each_level(|level| level.refuse_waiting(now_ns));
    }

    /// Whether no request waits or executes.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.table.read().levels.values().all(|level| level.state().queues.is_idle())
    }

    /// The refusal of a request that is not even let in to be counted.
    #[must_use]
    pub fn refusal(&self, attributes: &Attributes, reason: Reason) -> Refusal {
        self.table.read().classify(attributes).refusal(reason, self.settings.behaviour)
    }

    /// A request arrives, with the library's own estimate of its work. `waiter` is called only if the
    /// request waits; its `start` may be called before this returns.
    pub fn arrive(
        &self,
        now_ns: u64,
        attributes: &Arc<Attributes>,
        waiter: impl FnOnce() -> W,
    ) -> Admission<W> {
        self.arrive_with(now_ns, attributes, None, waiter)
    }

    /// As [`Engine::arrive`], with the caller's estimate if there is one.
    pub fn arrive_with(
        &self,
        now_ns: u64,
        attributes: &Arc<Attributes>,
        work: Option<Work>,
        waiter: impl FnOnce() -> W,
    ) -> Admission<W> {
        self.arrive_weighted(now_ns, attributes, work, None, waiter)
    }

    /// As [`Engine::arrive_with`], with the flow's weight within the level, if its schema's does not do.
    pub fn arrive_weighted(
        &self,
        now_ns: u64,
        attributes: &Arc<Attributes>,
        work: Option<Work>,
        weight: Option<u32>,
        waiter: impl FnOnce() -> W,
    ) -> Admission<W> {
        let table = self.table.read();
        let route = table.classify(attributes);
        let level = &route.level;
        let mut interested = None;
        let work = work.unwrap_or_else(|| {
            self.estimate(now_ns, attributes, level.max_seats(), |watches| interested = Some(watches))
        });
        let distinguisher = route.distinguisher.of(attributes);
        let hash = route.prefix.as_ref().map_or(0, |prefix| flow::finish(prefix.clone(), distinguisher));
        let row = route.rows[usize::from(attributes.request.verb == Verb::Watch)];
        let weight = weight.unwrap_or(route.weight).clamp(1, WEIGHT_MAX);
        let arrival = Arrival { hash, work, weight, schema: row, detail: Arc::clone(attributes) };
        let (decision, in_need) = level.with(|state| {
            if let Some(watches) = interested {
                state.queues.sample_watches(row, watches);
            }
            if route.prefix.is_some() {
                state.top.count(hash, &route.names.schema, route.distinguisher, attributes);
            }
            // A level that has no seats and may borrow none admits nobody: not even one, alone.
            let decision = if state.limits.max == 0 && !state.wishes.exempt {
                state.queues.refuse(row, Reason::ConcurrencyLimit)
            } else {
                state.queues.arrive(now_ns, arrival, |_| waiter())
            };
            if matches!(decision, Decision::Refused(_)) {
                state.retry.dropped(now_ns / 1_000_000_000);
            }
            let seats = state.queues.config().seats;
            (decision, !state.claimed && seats < state.limits.nominal && !state.quiescing)
        });
        let behaviour = self.settings.behaviour;
        let (id, waits) = match decision {
            Decision::Executing(id) => (id, false),
            Decision::Waiting(id) => (id, true),
            Decision::Refused(_) if level.is_shadow() => return Admission::Untracked(route.names.clone()),
            Decision::Refused(reason) => return Admission::Refused(route.refusal(reason, behaviour)),
        };
        if waits && in_need && behaviour.borrow_on_demand {
            self.adjust(&table, now_ns, &Occasion::Need(level));
        }
        Admission::Accepted(Ticket { route: Arc::clone(route), id, waits, work })
    }

    /// What each level looks like, by name.
    #[must_use]
    pub fn levels(&self) -> Vec<LevelView> {
        self.table.read().levels.values().map(|level| level.view()).collect()
    }

    /// All metrics.
    #[must_use]
    pub fn metrics(&self, now_ns: u64) -> Page {
        let mut page = Page::default();
        for level in self.table.read().levels.values() {
            level.export(now_ns, &mut page);
        }
        page.number("seat_fair_frac", &[], *self.adjusting.lock());
        self.in_flight.lock().export(now_ns, &mut page);
        page
    }

    pub(crate) fn each_level(&self, mut look: impl FnMut(&Level<W>)) {
        self.table.read().levels.values().for_each(|level| look(level));
    }

    fn estimate(
        &self,
        now_ns: u64,
        attributes: &Attributes,
        max_seats: u32,
        sampled: impl FnOnce(u64),
    ) -> Work {
        let request = &attributes.request;
        let known = || self.objects.get(&request.group_resource(), now_ns);
        let interested = || {
            let watches = self.watches.interested(request);
            sampled(watches);
            watches
        };
        estimate::work(request, known, interested, max_seats, self.settings.gates)
    }
}

impl<W> Table<W> {
    /// The first schema that matches, or the one of last resort: users in neither of the two groups
    /// that every request should be in end up there.
    fn classify(&self, attributes: &Attributes) -> &Arc<Route<W>> {
        let index = self.classifier.first(attributes).unwrap_or(self.catch_all);
        &self.routes[index]
    }

    fn find_catch_all(&mut self) {
        self.catch_all =
            self.routes.iter().position(|route| &*route.names.schema == builtin::CATCH_ALL).unwrap_or(0);
    }
}
