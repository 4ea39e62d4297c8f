//! A request ends, its seats are released, or it leaves its queue without executing.

use super::entries::{NONE, Stage};
use super::{Finish, QueueSet, Reason, RequestId};
use crate::number;
use crate::seats::{GUESS_NS, SeatSeconds};

impl<D, W> QueueSet<D, W> {
    /// The reply of an executing request is done, or its handler panicked.
    pub fn finish(&mut self, now_ns: u64, id: RequestId) -> Finish {
        self.sync(now_ns);
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.stage == Stage::Executing) else {
            return Finish::Unknown;
        };
        entry.stage = Stage::Lingering;
        let ran_ns = now_ns.saturating_sub(entry.started_ns);
        let (row, schema, work, weight) = (entry.queue, entry.schema, entry.work, entry.weight);
        self.totals.executing -= 1;
        if row != NONE {
            let early = number::float(GUESS_NS) - number::float(ran_ns);
            let unused = SeatSeconds::of(f64::from(work.initial_seats) / f64::from(weight), early);
            self.update_queue(row, |queue| {
                queue.executing -= 1;
                queue.next_dispatch_r = queue.next_dispatch_r.minus(unused);
            });
            self.touch(row);
        }
        self.observer.finished(schema, ran_ns);
        let finish = if work.linger_ns == 0 {
            self.free_seats(id);
            Finish::Released
        } else {
            Finish::Lingering { until_ns: now_ns.saturating_add(work.linger_ns) }
        };
        self.dispatch(now_ns);
        self.observe(now_ns);
        finish
    }

    /// The effects of a request that ended are over. Does nothing for a request that does not linger.
    pub fn release(&mut self, now_ns: u64, id: RequestId) {
        self.sync(now_ns);
        if self.entries.get(id).is_some_and(|entry| entry.stage == Stage::Lingering) {
            self.free_seats(id);
            self.dispatch(now_ns);
            self.observe(now_ns);
        }
    }

    /// A waiting request gives up. Returns whether it was waiting: if not, it executes or has ended.
    pub fn cancel(&mut self, now_ns: u64, id: RequestId) -> bool {
        if !self.entries.get(id).is_some_and(|entry| entry.stage == Stage::Waiting) {
            return false;
        }
        self.sync(now_ns);
        let Some(entry) = self.entries.get(id) else { return false };
        let (row, schema, width, total) = (entry.queue, entry.schema, entry.waiting_width, entry.total);
        let waited_ns = now_ns.saturating_sub(entry.arrived_ns);
        let mut fifo = self.queues[row as usize].fifo;
        self.entries.unlink(&mut fifo, id);
        self.entries.remove(id);
        self.update_queue(row, |queue| {
            queue.fifo = fifo;
            queue.seats_waiting -= width;
            queue.waiting_work = queue.waiting_work.minus(total);
        });
        self.totals.waiting -= 1;
        self.totals.seats_waiting -= width;
        self.totals.rejected += 1;
        self.totals.cancelled += 1;
        self.observer.left_queue(schema, width);
        self.observer.timed_out(schema, waited_ns, !self.behaviour.timeout_is_not_execution);
        self.observer.refused_late(schema, Reason::TimeOut);
        self.touch(row);
        if self.behaviour.dispatch_on_cancel {
            self.remove_if_surplus(row);
            self.dispatch(now_ns);
        }
        self.observe(now_ns);
        true
    }

    /// All waiting requests give up; returns what waited for them.
    pub fn cancel_all(&mut self, now_ns: u64) -> Vec<W> {
        let waiting: Vec<RequestId> = self.entries.waiting().collect();
        let mut waiters = Vec::with_capacity(waiting.len());
        for id in waiting {
            // One that has started because others left is gone from the queues.
            let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.stage == Stage::Waiting) else {
                continue;
            };
            waiters.extend(entry.waiter.take());
            self.cancel(now_ns, id);
        }
        waiters
    }

    fn free_seats(&mut self, id: RequestId) {
        let Some(entry) = self.entries.get(id) else { return };
        let (row, schema, width) = (entry.queue, entry.schema, entry.work.width());
        self.entries.remove(id);
        self.totals.seats_in_use -= width;
        self.observer.released(schema, width);
        if row == NONE {
            return;
        }
        self.update_queue(row, |queue| queue.seats_in_use -= width);
        let queue = &self.queues[row as usize];
        if queue.index.is_none() && queue.seats_in_use == 0 {
            self.free_queues.push(row);
        } else {
            self.remove_if_surplus(row);
        }
    }

    /// Removes a queue from the set if there are too many and nothing waits or executes in it. A
    /// request that lingers keeps the row, so that its seats are not charged to another queue.
    fn remove_if_surplus(&mut self, row: u32) {
        let wanted = usize::try_from(self.config.queues).unwrap_or(0);
        let queue = self.queues[row as usize];
        let (Some(index), false, true) = (queue.index, queue.is_active(), self.ring.len() > wanted) else {
            return;
        };
        self.progress.want -= u64::from(queue.want());
        self.queues[row as usize].index = None;
        if queue.seats_in_use == 0 {
            self.free_queues.push(row);
        }
        self.ring.remove(index as usize);
        if self.robin >= i64::from(index) {
            self.robin -= 1;
        }
        self.renumber();
    }
}
