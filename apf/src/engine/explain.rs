//! What would become of a request, and why, without letting it in.

use super::Engine;
use crate::deal::{Dealer, Hand};
use crate::flow;
use crate::level::{LevelView, Waiter};
use crate::queueset::QueueDump;
use crate::request::Attributes;
use crate::seats::Work;
use std::sync::Arc;

/// What would become of a request, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The schema that matches first.
    pub schema: Arc<str>,
    /// Whether nothing matched, and it is the schema of last resort.
    pub last_resort: bool,
    /// All schemas that match, in the order tried.
    pub matching: Vec<Arc<str>>,
    /// The level, as it is now.
    pub level: LevelView,
    /// Whether it always executes at once.
    pub exempt: bool,
    /// What tells its flow from others of the schema.
    pub distinguisher: String,
    /// Hash of the flow; 0 where the level has no flows.
    pub hash: u64,
    /// Number of queues that hands are dealt from; 0 for levels without queues.
    pub deck: u64,
    /// The queues dealt to the flow, and each one's state.
    pub hand: Vec<(u32, QueueDump)>,
    /// The queue with the least waiting work, if the level queues.
    pub queue: Option<u32>,
    /// Its estimate.
    pub work: Work,
}

impl<W: Waiter> Engine<W> {
    /// What would become of a request now, and why.
    #[must_use]
    pub fn explain(&self, now_ns: u64, attributes: &Attributes) -> Explanation {
        let table = self.table.read();
        let route = table.classify(attributes);
        let mut matching: Vec<Arc<str>> = table
            .classifier
            .matches(attributes)
            .map(|index| Arc::clone(&table.routes[index].names.schema))
            .collect();
        matching.dedup();
        let level = &route.level;
        let distinguisher = route.distinguisher.of(attributes).to_owned();
        let hash = route.prefix.as_ref().map_or(0, |prefix| flow::finish(prefix.clone(), &distinguisher));
        let (wishes, queues) = {
            let state = level.state();
            (state.wishes, state.queues.queues())
        };
        let dealer = wishes.queues.and_then(|(n, hand, _)| Dealer::new(n.into(), hand.into()).ok());
        let deck = dealer.as_ref().map_or(0, Dealer::deck);
        let cards = dealer.map(|dealer| dealer.deal(hash));
        let cards = cards.as_ref().map_or(&[][..], Hand::cards);
        let hand: Vec<_> =
            cards.iter().filter_map(|card| Some((*card, *queues.get(*card as usize)?))).collect();
        Explanation {
            schema: Arc::clone(&route.names.schema),
            last_resort: matching.is_empty(),
            matching,
            level: level.view(),
            exempt: wishes.exempt,
            distinguisher,
            hash,
            deck,
            queue: hand.iter().min_by_key(|(_, queue)| queue.total_work).map(|(card, _)| *card),
            hand,
            work: self.estimate(now_ns, attributes, level.max_seats(), |_| ()),
        }
    }
}
