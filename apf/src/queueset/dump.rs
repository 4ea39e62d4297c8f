//! What a queue set holds, for the debug endpoints.

use super::QueueSet;
use super::entries::{Entry, NONE, Stage};
use crate::flow::Distinguisher;
use crate::seats::{SeatSeconds, Work};
use std::sync::Arc;

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDump {
    /// Index in the set.
    pub index: u32,
    /// Requests waiting.
    pub pending: u32,
    /// Requests executing.
    pub executing: u32,
    /// Seats taken.
    pub seats_in_use: u32,
    /// Virtual time of the next dispatch.
    pub next_dispatch_r: SeatSeconds,
    /// Initial seats of the waiting requests.
    pub initial_seats: u32,
    /// Widths of the waiting requests.
    pub max_seats: u32,
    /// Work of the waiting requests.
    pub total_work: SeatSeconds,
}

/// One request.
#[derive(Clone, Debug)]
pub struct RequestDump<'a, D> {
    /// Index of its queue, if it is in one.
    pub queue: Option<u32>,
    /// Position in the queue, if it waits.
    pub position: Option<u32>,
    /// Name of its schema.
    pub schema: &'a Arc<str>,
    /// How the schema tells flows apart.
    pub distinguisher: Distinguisher,
    /// Arrival time in nanoseconds.
    pub arrived_ns: u64,
    /// Start of execution in nanoseconds, unless it waits.
    pub started_ns: Option<u64>,
    /// Its estimate.
    pub work: Work,
    /// What the owner keeps about it.
    pub detail: &'a D,
}

impl<D, W> QueueSet<D, W> {
    /// The queues by index.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueDump> {
        let queues = self.ordered_queues().zip(0..);
        let dump = |(queue, index): (&super::Queue, u32)| QueueDump {
            index,
            pending: queue.fifo.len,
            executing: queue.executing,
            seats_in_use: queue.seats_in_use,
            next_dispatch_r: queue.next_dispatch_r,
            initial_seats: self.waiting(queue.fifo.head).map(|entry| entry.work.initial_seats).sum(),
            max_seats: queue.seats_waiting,
            total_work: queue.waiting_work,
        };
        queues.map(dump).collect()
    }

    /// The requests: by queue the waiting ones, then the executing ones; at the end those in no queue.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestDump<'_, D>> {
        let mut requests = Vec::new();
        for (queue, row) in self.ordered_queues().zip(&self.ring) {
            requests
                .extend(self.waiting(queue.fifo.head).zip(0..).filter_map(|(e, at)| self.dump(e, Some(at))));
            requests.extend(self.executing(*row));
        }
        requests.extend(self.executing(NONE));
        requests
    }

    fn executing(&self, row: u32) -> impl Iterator<Item = RequestDump<'_, D>> {
        let executing = move |entry: &&Entry<D, W>| entry.queue == row && entry.stage == Stage::Executing;
        self.entries.iter().filter(executing).filter_map(|entry| self.dump(entry, None))
    }

    fn waiting(&self, head: u32) -> impl Iterator<Item = &Entry<D, W>> {
        let row = |row: u32| (row != NONE).then(|| self.entries.at(row));
        std::iter::successors(row(head), move |entry| row(entry.next))
    }

    fn dump<'a>(&'a self, entry: &'a Entry<D, W>, position: Option<u32>) -> Option<RequestDump<'a, D>> {
        let schema = self.observer.schemas_of(entry.schema);
        Some(RequestDump {
            queue: self.queues.get(entry.queue as usize).and_then(|queue| queue.index),
            position,
            schema: &schema.name,
            distinguisher: schema.distinguisher,
            arrived_ns: entry.arrived_ns,
            started_ns: position.is_none().then_some(entry.started_ns),
            work: entry.work,
            detail: entry.detail.as_ref()?,
        })
    }
}
