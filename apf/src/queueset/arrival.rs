//! A request arrives.

use super::entries::{Entry, NONE, RequestId, Stage};
use super::{Arrival, Decision, QueueSet, Reason};
use crate::seats::SeatSeconds;

/// Most seats of one request; sums of what waits and executes then stay far from overflow.
const WIDTH_MAX: u32 = 10_000;

impl<D, W> QueueSet<D, W> {
    /// A request arrives: it executes, waits or is refused. `waiter` is called only if it waits.
    #[inline]
    pub fn arrive(
        &mut self,
        now_ns: u64,
        arrival: Arrival<D>,
        waiter: impl FnOnce(RequestId) -> W,
    ) -> Decision {
        self.sync(now_ns);
        let mut arrival = arrival;
        arrival.work.initial_seats = arrival.work.initial_seats.min(WIDTH_MAX);
        arrival.work.final_seats = arrival.work.final_seats.min(WIDTH_MAX);
        let decision = if self.config.queues > 0 {
            self.enqueue(now_ns, arrival, waiter)
        } else {
            self.start_or_refuse(now_ns, arrival)
        };
        self.observe(now_ns);
        decision
    }

    fn enqueue(&mut self, now_ns: u64, arrival: Arrival<D>, waiter: impl FnOnce(RequestId) -> W) -> Decision {
        let row = self.choose_queue(arrival.hash);
        let Arrival { work, weight, schema, detail, .. } = arrival;
        let queue = &self.queues[row as usize];
        if self.totals.seats_in_use >= self.config.seats && queue.fifo.len >= self.config.queue_length_limit {
            return self.refuse(schema, Reason::QueueFull);
        }
        let (width, total) = (work.width(), work.total());
        let mut entry = Entry::new(schema, now_ns, work, weight, detail);
        entry.queue = row;
        entry.arrival_r = self.progress.r;
        let id = self.entries.insert(entry);
        let (entries, r) = (&mut self.entries, self.progress.r);
        let mut fifo = queue.fifo;
        entries.push_back(&mut fifo, id);
        self.update_queue(row, |queue| {
            if !queue.is_active() {
                queue.next_dispatch_r = r;
            }
            queue.fifo = fifo;
            queue.weight = weight;
            queue.seats_waiting += width;
            queue.waiting_work = queue.waiting_work.plus(total);
        });
        self.totals.waiting += 1;
        self.totals.seats_waiting += width;
        self.observer.enqueued(schema, width, fifo.len);
        self.touch(row);
        self.dispatch(now_ns);
        match self.entries.get_mut(id) {
            Some(entry) if entry.stage == Stage::Waiting => {
                entry.waiter = Some(waiter(id));
                Decision::Waiting(id)
            }
            _ => Decision::Executing(id),
        }
    }

    /// Outside the queues: a level that refuses, or an exempt one.
    fn start_or_refuse(&mut self, now_ns: u64, arrival: Arrival<D>) -> Decision {
        let Arrival { work, weight, schema, detail, .. } = arrival;
        let width = work.width();
        if !self.fits(width) {
            return self.refuse(schema, Reason::ConcurrencyLimit);
        }
        let mut entry = Entry::new(schema, now_ns, work, weight, detail);
        entry.stage = Stage::Executing;
        entry.started_ns = now_ns;
        entry.arrival_r = self.progress.r;
        entry.queue = NONE;
        self.totals.executing += 1;
        self.totals.seats_in_use = self.totals.seats_in_use.saturating_add(width);
        self.totals.dispatched += 1;
        self.observer.started(schema, width, (self.config.queues == 0).then_some(0));
        Decision::Executing(self.entries.insert(entry))
    }

    /// Refuses a request of a schema, whatever its cost.
    pub(crate) fn refuse(&mut self, schema: u32, reason: Reason) -> Decision {
        self.totals.rejected += 1;
        self.observer.refused(schema, reason);
        Decision::Refused(reason)
    }

    /// The queue of the hand with the least waiting work. The start rotates, so that the first cards
    /// are not favoured while all queues are empty.
    fn choose_queue(&mut self, hash: u64) -> u32 {
        let Some(dealer) = &self.dealer else { return self.ring[0] };
        let hand = dealer.deal(hash);
        let cards = hand.cards();
        let offset = self.enqueues % cards.len();
        self.enqueues = self.enqueues.wrapping_add(1);
        let mut best = (SeatSeconds(u64::MAX), self.ring[cards[offset] as usize]);
        for card in cards[offset..].iter().chain(&cards[..offset]) {
            let row = self.ring[*card as usize];
            let work = self.queues[row as usize].waiting_work;
            if work < best.0 {
                best = (work, row);
            }
        }
        best.1
    }
}
