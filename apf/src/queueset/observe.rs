//! What a queue set counts about itself, under the lock that its owner holds anyway.

use super::{QueueSet, Reason};
use crate::demand::Integrator;
use crate::flow::Distinguisher;
use crate::metrics::{
    DEMAND, Histogram, Page, QUEUE_LENGTHS, REQUEST_UTILIZATION, SEAT_UTILIZATION, SEATS, SECONDS,
    TimedHistogram, WATCHES,
};
use crate::number;
use crate::seats::{GUESS_NS, SeatSeconds};
use std::sync::Arc;

/// Weight of the newest request in the mean execution time.
const MEAN_WEIGHT: f64 = 1.0 / 16.0;

/// Counts of one schema's requests in one level.
#[derive(Clone, Debug)]
pub struct SchemaStats {
    /// Name of the schema.
    pub name: Arc<str>,
    /// How its flows are told apart.
    pub distinguisher: Distinguisher,
    /// Requests that started to execute.
    pub dispatched: u64,
    /// Requests refused, in the order of [`Reason::ALL`].
    pub rejected: [u64; 3],
    /// Times its request was next but did not fit.
    pub no_accommodation: u64,
    /// Requests and seats waiting.
    pub waiting: (u32, u32),
    /// Requests executing, and seats taken.
    pub executing: (u32, u32),
    queue_length: Histogram,
    seats: Histogram,
    watches: Histogram,
    /// Without and with execution.
    wait: [Histogram; 2],
    /// Of regular requests and watches.
    execution: [Histogram; 2],
    is_watch: bool,
}

/// Counts of a level beyond those per schema.
#[derive(Clone, Debug)]
pub struct LevelStats {
    demand_seats: TimedHistogram,
    seat_utilization: TimedHistogram,
    waiting_utilization: TimedHistogram,
    executing_utilization: TimedHistogram,
    dispatch_r: SeatSeconds,
    latest_s: SeatSeconds,
    /// Mean execution time of recent requests in nanoseconds.
    mean_execution_ns: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Observer {
    schemas: Vec<SchemaStats>,
    level: LevelStats,
    demand: Integrator,
}

impl<D, W> QueueSet<D, W> {
    /// The row of a schema in the statistics, made on first use. Watches are counted in a row of their own.
    pub fn schema(&mut self, name: &Arc<str>, distinguisher: Distinguisher, is_watch: bool) -> u32 {
        let schemas = &mut self.observer.schemas;
        let found = schemas.iter().position(|schema| schema.name == *name && schema.is_watch == is_watch);
        let index = found.unwrap_or_else(|| {
            schemas.push(SchemaStats::new(Arc::clone(name), is_watch));
            schemas.len() - 1
        });
        schemas[index].distinguisher = distinguisher;
        number::index(index)
    }

    /// The counts per schema; a schema with watches has two rows.
    #[must_use]
    pub fn schemas(&self) -> &[SchemaStats] {
        &self.observer.schemas
    }

    /// The integral of seats taken and waited for.
    pub const fn demand(&mut self) -> &mut Integrator {
        &mut self.observer.demand
    }

    /// Notes how many watches a mutating request notifies.
    pub fn sample_watches(&mut self, schema: u32, watches: u64) {
        self.observer.schemas[schema as usize].watches.observe(number::float(watches));
    }

    /// When what waits now will likely have started, in nanoseconds from now.
    #[must_use]
    pub fn drain_ns(&self) -> f64 {
        let seats = f64::from(self.totals.seats_waiting) + f64::from(self.totals.seats_in_use);
        seats * self.observer.level.mean_execution_ns / f64::from(self.config.seats.max(1))
    }

    /// Puts the counts of this level on a page of metrics.
    pub fn export(&self, level: &str, now_ns: u64, page: &mut Page) {
        for schema in &self.observer.schemas {
            schema.export(level, page);
        }
        let stats = &self.observer.level;
        page.histogram("demand_seats", &[level], stats.demand_seats.at(now_ns));
        for (phase, ratio) in
            [("executing", &stats.executing_utilization), ("waiting", &stats.waiting_utilization)]
        {
            page.histogram("priority_level_request_utilization", &[phase, level], ratio.at(now_ns));
        }
        let utilization = stats.seat_utilization.at(now_ns);
        page.histogram("priority_level_seat_utilization", &["executing", level], utilization);
        page.number("current_limit_seats", &[level], f64::from(self.config.seats));
        page.number("current_r", &[level], self.progress.r.as_f64());
        page.number("dispatch_r", &[level], stats.dispatch_r.as_f64());
        page.number("latest_s", &[level], stats.latest_s.as_f64());
        for (success, count) in ["false", "true"].into_iter().zip(self.progress.epochs) {
            page.number("epoch_advance_total", &[level, success], number::float(count));
        }
        let heads = || self.ordered_queues().filter(|queue| queue.fifo.len > 0);
        let next = heads().map(|queue| queue.next_dispatch_r.as_f64());
        bounds(page, "next_s_bounds", level, next);
        let discounted = heads().map(|queue| {
            queue.next_dispatch_r.as_f64() - SeatSeconds::of_seats(queue.seats_in_use, GUESS_NS).as_f64()
        });
        bounds(page, "next_discounted_s_bounds", level, discounted);
    }

    /// Takes in the totals as they are now. Every operation ends with this.
    pub(super) fn observe(&mut self, now_ns: u64) {
        let (totals, config) = (self.totals, self.config);
        let wanted = u64::from(totals.seats_in_use) + u64::from(totals.seats_waiting);
        self.observer.demand.set(now_ns, number::float(wanted));
        let (level, seats) = (&mut self.observer.level, u64::from(config.seats));
        let room =
            u64::from(config.queue_length_limit.max(1)) * u64::from(config.queues.max(1).unsigned_abs());
        level.demand_seats.set(now_ns, wanted, seats);
        level.seat_utilization.set(now_ns, totals.seats_in_use.into(), seats);
        level.executing_utilization.set(now_ns, totals.executing.into(), seats);
        level.waiting_utilization.set(now_ns, totals.waiting.into(), room);
    }

    pub(super) fn dispatched_at(&mut self, before: SeatSeconds) {
        self.observer.level.dispatch_r = self.progress.r;
        self.observer.level.latest_s = before;
    }
}

impl Observer {
    pub(super) fn new(now_ns: u64) -> Self {
        let level = LevelStats {
            demand_seats: TimedHistogram::new(DEMAND, now_ns),
            seat_utilization: TimedHistogram::new(SEAT_UTILIZATION, now_ns),
            waiting_utilization: TimedHistogram::new(REQUEST_UTILIZATION, now_ns),
            executing_utilization: TimedHistogram::new(REQUEST_UTILIZATION, now_ns),
            dispatch_r: SeatSeconds(0),
            latest_s: SeatSeconds(0),
            mean_execution_ns: number::float(GUESS_NS),
        };
        Self { schemas: Vec::new(), level, demand: Integrator::new(now_ns) }
    }

    pub(super) fn schemas_of(&self, row: u32) -> &SchemaStats {
        &self.schemas[row as usize]
    }

    pub(super) fn enqueued(&mut self, schema: u32, width: u32, length: u32) {
        let schema = &mut self.schemas[schema as usize];
        schema.waiting.0 += 1;
        schema.waiting.1 += width;
        schema.queue_length.observe(f64::from(length));
        schema.seats.observe(f64::from(width));
    }

    pub(super) fn left_queue(&mut self, schema: u32, width: u32) {
        let schema = &mut self.schemas[schema as usize];
        schema.waiting.0 -= 1;
        schema.waiting.1 -= width;
    }

    /// `waited_ns` is absent for requests of exempt levels, which are not observed as waiting.
    pub(super) fn started(&mut self, schema: u32, width: u32, waited_ns: Option<u64>) {
        let schema = &mut self.schemas[schema as usize];
        schema.dispatched += 1;
        schema.executing.0 += 1;
        schema.executing.1 += width;
        if let Some(waited_ns) = waited_ns {
            schema.wait[1].observe(number::float(waited_ns) / 1e9);
        }
    }

    pub(super) fn finished(&mut self, schema: u32, ran_ns: u64) {
        let schema = &mut self.schemas[schema as usize];
        schema.executing.0 -= 1;
        schema.execution[usize::from(schema.is_watch)].observe(number::float(ran_ns) / 1e9);
        let mean = &mut self.level.mean_execution_ns;
        *mean += (number::float(ran_ns) - *mean) * MEAN_WEIGHT;
    }

    pub(super) fn released(&mut self, schema: u32, width: u32) {
        self.schemas[schema as usize].executing.1 -= width;
    }

    pub(super) fn did_not_fit(&mut self, schema: u32) {
        self.schemas[schema as usize].no_accommodation += 1;
    }

    pub(super) fn refused(&mut self, schema: u32, reason: Reason) {
        self.schemas[schema as usize].wait[0].observe(0.0);
        self.refused_late(schema, reason);
    }

    pub(super) fn refused_late(&mut self, schema: u32, reason: Reason) {
        self.schemas[schema as usize].rejected[reason as usize] += 1;
    }

    pub(super) fn timed_out(&mut self, schema: u32, waited_ns: u64, as_execution: bool) {
        self.schemas[schema as usize].wait[usize::from(as_execution)].observe(number::float(waited_ns) / 1e9);
    }
}

impl SchemaStats {
    fn new(name: Arc<str>, is_watch: bool) -> Self {
        let seconds = || Histogram::new(SECONDS);
        Self {
            name,
            distinguisher: Distinguisher::None,
            dispatched: 0,
            rejected: [0; 3],
            no_accommodation: 0,
            waiting: (0, 0),
            executing: (0, 0),
            queue_length: Histogram::new(QUEUE_LENGTHS),
            seats: Histogram::new(SEATS),
            watches: Histogram::new(WATCHES),
            wait: [seconds(), seconds()],
            execution: [seconds(), seconds()],
            is_watch,
        }
    }

    /// Waits of requests that executed, or were refused.
    #[must_use]
    pub const fn waits(&self, executed: bool) -> &Histogram {
        &self.wait[executed as usize]
    }

    fn export(&self, level: &str, page: &mut Page) {
        let labels = [&*self.name, level];
        page.add("current_executing_requests", &labels, self.executing.0.into());
        page.add("current_executing_seats", &labels, self.executing.1.into());
        page.add("current_inqueue_requests", &labels, self.waiting.0.into());
        page.add("current_inqueue_seats", &labels, self.waiting.1.into());
        page.add("dispatched_requests_total", &labels, number::float(self.dispatched));
        page.add("request_dispatch_no_accommodation_total", &labels, number::float(self.no_accommodation));
        for (reason, count) in Reason::ALL.into_iter().zip(self.rejected) {
            page.add("rejected_requests_total", &[&self.name, level, reason.as_str()], number::float(count));
        }
        page.histogram("request_queue_length_after_enqueue", &labels, self.queue_length.clone());
        page.histogram("work_estimated_seats", &labels, self.seats.clone());
        page.histogram("watch_count_samples", &labels, self.watches.clone());
        for (execute, wait) in ["false", "true"].into_iter().zip(&self.wait) {
            page.histogram("request_wait_duration_seconds", &[execute, &self.name, level], wait.clone());
        }
        let kind = if self.is_watch { "watch" } else { "regular" };
        let execution = self.execution[usize::from(self.is_watch)].clone();
        page.histogram("request_execution_seconds", &[&self.name, level, kind], execution);
    }
}

fn bounds(page: &mut Page, family: &'static str, level: &str, values: impl Iterator<Item = f64>) {
    let (min, max) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
    if min <= max {
        page.number(family, &["max", level], max);
        page.number(family, &["min", level], min);
    }
}
