//! The progress meter of a queue set.

use super::{Queue, QueueSet};
use crate::number;
use crate::seats::SeatSeconds;

/// By how much the meter is wound back.
const EPOCH: u64 = u64::MAX / 2;

#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub r: SeatSeconds,
    since_ns: u64,
    /// Weights of the queues with a waiting or executing request.
    pub active: u64,
    /// Seats taken or waited for in the queues of the set.
    pub want: u64,
    /// Windings back, failed and successful.
    pub epochs: [u64; 2],
}

impl Progress {
    pub(super) const fn new(now_ns: u64) -> Self {
        Self { r: SeatSeconds(0), since_ns: now_ns, active: 0, want: 0, epochs: [0; 2] }
    }
}

impl<D, W> QueueSet<D, W> {
    /// Advances the meter to now. Every operation starts with this.
    #[inline]
    pub(super) fn sync(&mut self, now_ns: u64) {
        let progress = &mut self.progress;
        let span = now_ns.saturating_sub(progress.since_ns);
        if span == 0 {
            return;
        }
        progress.since_ns = now_ns;
        if progress.active == 0 {
            return;
        }
        let usable = progress.want.min(u64::from(self.config.seats));
        let share = match &self.water {
            Some(water) => water.level(usable),
            None => number::float(usable) / number::float(progress.active),
        };
        progress.r = progress.r.plus(SeatSeconds::of(share, number::float(span)));
        if progress.r.0 >= EPOCH + EPOCH / 2 {
            self.wind_back();
        }
    }

    /// Changes a queue and keeps the sums over all queues right.
    #[inline]
    pub(super) fn update_queue(&mut self, row: u32, change: impl FnOnce(&mut Queue)) {
        let queue = &mut self.queues[row as usize];
        let (old_weight, old_want) = (queue.active_weight(), queue.want());
        change(queue);
        let (weight, want) = (queue.active_weight(), queue.want());
        if queue.index.is_none() {
            return;
        }
        self.progress.active = self.progress.active + u64::from(weight) - u64::from(old_weight);
        self.progress.want = self.progress.want + u64::from(want) - u64::from(old_want);
        if let Some(water) = &mut self.water {
            water.replace((old_want, old_weight), (want, weight));
        }
    }

    /// Bounds a queue's virtual time by its head's arrival and enters it into the order. To be called
    /// after each change of the head or of the virtual time.
    #[inline]
    pub(super) fn touch(&mut self, row: u32) {
        let queue = &mut self.queues[row as usize];
        let Some(index) = queue.index else { return };
        let head = (queue.fifo.len > 0).then(|| {
            let head = self.entries.at(queue.fifo.head);
            queue.next_dispatch_r = queue.next_dispatch_r.max(head.arrival_r);
            (queue.next_dispatch_r.plus(head.charge()).0, head.work.width())
        });
        self.order.set(index, head);
    }

    fn wind_back(&mut self) {
        let step = SeatSeconds(EPOCH);
        self.progress.r = self.progress.r.minus(step);
        let mut wrapped = false;
        for row in &self.ring {
            let queue = &mut self.queues[*row as usize];
            if queue.is_active() {
                wrapped |= queue.next_dispatch_r < step;
                queue.next_dispatch_r = queue.next_dispatch_r.minus(step);
            } else {
                queue.next_dispatch_r = SeatSeconds(0);
            }
        }
        for entry in self.entries.waiting_mut() {
            wrapped |= entry.arrival_r < step;
            entry.arrival_r = entry.arrival_r.minus(step);
        }
        self.progress.epochs[usize::from(!wrapped)] += 1;
        for index in 0..self.ring.len() {
            self.touch(self.ring[index]);
        }
    }
}
