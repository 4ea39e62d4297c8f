//! A new shape, with requests in flight.

use super::{Config, Order, Queue, QueueSet};
use crate::deal::{self, Dealer};
use crate::number;

impl<D, W> QueueSet<D, W> {
    /// Changes the shape. Nothing that waits or executes is aborted: surplus queues drain, surplus
    /// seats stay taken until released. A shape without queues keeps the length limit and hand.
    ///
    /// # Errors
    /// Queues and hand size that make no dealer; nothing has changed then.
    pub fn reconfigure(&mut self, now_ns: u64, config: Config) -> Result<(), deal::Error> {
        let mut config = config;
        if config.queues > 0 {
            self.dealer = Some(Dealer::new(config.queues.into(), config.hand_size.into())?);
        } else {
            config.queue_length_limit = self.config.queue_length_limit;
            config.hand_size = self.config.hand_size;
        }
        self.sync(now_ns);
        self.config = config;
        let wanted = usize::try_from(config.queues).unwrap_or(0);
        if wanted > self.ring.len() {
            while self.ring.len() < wanted {
                self.append_queue();
            }
            self.renumber();
        }
        self.dispatch(now_ns);
        self.observe(now_ns);
        Ok(())
    }

    /// Changes the concurrency limit only.
    pub fn set_seats(&mut self, now_ns: u64, seats: u32) {
        if self.config.seats != seats {
            self.sync(now_ns);
            self.config.seats = seats;
            self.dispatch(now_ns);
        }
        self.observe(now_ns);
    }

    /// Gives every queue its position after the ring changed.
    pub(super) fn renumber(&mut self) {
        self.order = Order::new(self.ring.len());
        for index in 0..self.ring.len() {
            let row = self.ring[index];
            self.queues[row as usize].index = Some(number::index(index));
            self.touch(row);
        }
    }

    fn append_queue(&mut self) {
        let row = self.free_queues.pop().unwrap_or_else(|| {
            self.queues.push(Queue::default());
            number::index(self.queues.len() - 1)
        });
        self.queues[row as usize] = Queue { index: Some(number::index(self.ring.len())), ..Queue::default() };
        self.ring.push(row);
    }
}
