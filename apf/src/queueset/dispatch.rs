//! The next request starts to execute.

use super::entries::Stage;
use super::{Queue, QueueSet};
use crate::number;

impl<D, W> QueueSet<D, W> {
    /// Starts waiting requests for as long as the next one fits.
    pub(super) fn dispatch(&mut self, now_ns: u64) {
        while self.totals.waiting > 0 && self.totals.seats_in_use < self.config.seats {
            // The reference walks once round the ring: that is where its cursor ends.
            self.robin = self.robin.rem_euclid(i64::from(number::index(self.ring.len().max(1))));
            let Some(index) = self.order.first(self.robin) else { return };
            let head = self.entries.at(self.head(index).fifo.head);
            if self.fits(head.work.width()) {
                self.robin = i64::from(index);
                self.start(now_ns, index);
                continue;
            }
            self.observer.did_not_fit(head.schema);
            match self.backfill(index) {
                Some(other) => self.start(now_ns, other),
                None => return,
            }
        }
    }

    /// A queue whose head may pass the one that does not fit. Any one head is passed by no more seats
    /// than it takes itself: it cannot starve, and a flow of narrow requests cannot push a flow of
    /// wide ones below an equal share.
    fn backfill(&mut self, blocked: u32) -> Option<u32> {
        if !self.behaviour.backfill {
            return None;
        }
        let head = self.head(blocked).fifo.head;
        let (blocked, width) = (Some(self.entries.id(head)), self.entries.at(head).work.width());
        if self.backfill.0 != blocked {
            self.backfill = (blocked, 0);
        }
        let free = self.config.seats - self.totals.seats_in_use;
        let budget = width.saturating_sub(self.backfill.1);
        let index = self.order.first_fitting(free.min(budget))?;
        self.backfill.1 += self.entries.at(self.head(index).fifo.head).work.width();
        Some(index)
    }

    fn start(&mut self, now_ns: u64, index: u32) {
        let row = self.ring[index as usize];
        let mut fifo = self.queues[row as usize].fifo;
        let id = self.entries.id(fifo.head);
        self.entries.unlink(&mut fifo, id);
        let seats = self.config.seats;
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.work.final_seats > seats {
            entry.work.linger_ns = entry.work.final_work().per_seat_ns(seats);
            entry.work.final_seats = seats;
        }
        entry.stage = Stage::Executing;
        entry.started_ns = now_ns;
        let (old, new, total) = (entry.waiting_width, entry.work.width(), entry.total);
        let charge = entry.charge();
        let (schema, waited_ns) = (entry.schema, now_ns.saturating_sub(entry.arrived_ns));
        if let Some(waiter) = entry.waiter.take() {
            self.ready.push((id, waiter));
        }
        self.dispatched_at(self.queues[row as usize].next_dispatch_r);
        self.update_queue(row, |queue| {
            queue.fifo = fifo;
            queue.executing += 1;
            queue.seats_waiting -= old;
            queue.seats_in_use += new;
            queue.waiting_work = queue.waiting_work.minus(total);
            queue.next_dispatch_r = queue.next_dispatch_r.plus(charge);
        });
        self.totals.waiting -= 1;
        self.totals.seats_waiting -= old;
        self.totals.executing += 1;
        self.totals.seats_in_use += new;
        self.totals.dispatched += 1;
        self.observer.left_queue(schema, old);
        self.observer.started(schema, new, Some(waited_ns));
        self.touch(row);
    }

    fn head(&self, index: u32) -> &Queue {
        &self.queues[self.ring[index as usize] as usize]
    }
}
