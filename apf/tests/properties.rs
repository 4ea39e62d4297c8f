//! What holds after every step of any sequence of events, and that no request is lost.

use proptest::prelude::*;
use seaway_apf::behaviour::Behaviour;
use seaway_apf::flow::Distinguisher;
use seaway_apf::queueset::{Arrival, Config, Decision, Finish, QueueSet, RequestId};
use seaway_apf::seats::Work;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive { hash: u64, initial: u32, last: u32, linger_ms: u64 },
    Finish(usize),
    Release(usize),
    Cancel(usize),
    Shape { queues: i32, hand: i32, length: u32, seats: u32 },
    Seats(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Executing,
    Lingering,
    Ended,
}

struct Model {
    set: QueueSet<u32, u32>,
    schema: u32,
    now_ns: u64,
    requests: BTreeMap<u32, (RequestId, Stage)>,
    arrived: u32,
    refused: u32,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (any::<u64>(), 1..6u32, 0..8u32, 0..4u64).prop_map(|(hash, initial, last, linger_ms)| {
            Event::Arrive { hash, initial, last, linger_ms: if last == 0 { 0 } else { linger_ms } }
        }),
        4 => any::<usize>().prop_map(Event::Finish),
        2 => any::<usize>().prop_map(Event::Release),
        2 => any::<usize>().prop_map(Event::Cancel),
        1 => (-1..9i32, 1..4i32, 1..5u32, 0..9u32).prop_map(|(queues, hand, length, seats)| Event::Shape {
            queues,
            hand: hand.min(queues.max(1)),
            length,
            seats
        }),
        1 => (0..9u32).prop_map(Event::Seats),
    ]
}

impl Model {
    fn new(behaviour: Behaviour) -> Self {
        let config = Config { queues: 6, hand_size: 2, queue_length_limit: 3, seats: 5 };
        let mut set = QueueSet::new(config, behaviour, 0).unwrap();
        let schema = set.schema(&"s".into(), Distinguisher::None, false);
        Self { set, schema, now_ns: 0, requests: BTreeMap::new(), arrived: 0, refused: 0 }
    }

    fn apply(&mut self, event: Event) {
        self.now_ns += 1_000_000;
        match event {
            Event::Arrive { hash, initial, last, linger_ms } => {
                let id = self.arrived;
                self.arrived += 1;
                let work =
                    Work { initial_seats: initial, final_seats: last, linger_ns: linger_ms * 1_000_000 };
                let arrival = Arrival { hash, work, weight: 1, schema: self.schema, detail: id };
                match self.set.arrive(self.now_ns, arrival, |_| id) {
                    Decision::Executing(request) => {
                        self.requests.insert(id, (request, Stage::Executing));
                    }
                    Decision::Waiting(request) => {
                        self.requests.insert(id, (request, Stage::Waiting));
                    }
                    Decision::Refused(_) => self.refused += 1,
                }
            }
            Event::Finish(which) => self.finish(which),
            Event::Release(which) => {
                if let Some((id, request)) = self.pick(Stage::Lingering, which) {
                    self.set.release(self.now_ns, request);
                    self.requests.get_mut(&id).unwrap().1 = Stage::Ended;
                }
            }
            Event::Cancel(which) => {
                if let Some((id, request)) = self.pick(Stage::Waiting, which) {
                    assert!(self.set.cancel(self.now_ns, request));
                    self.requests.get_mut(&id).unwrap().1 = Stage::Ended;
                }
            }
            Event::Shape { queues, hand, length, seats } => {
                let config = Config { queues, hand_size: hand, queue_length_limit: length, seats };
                self.set.reconfigure(self.now_ns, config).unwrap();
            }
            Event::Seats(seats) => self.set.set_seats(self.now_ns, seats),
        }
        for (request, id) in self.set.take_ready() {
            let known = self.requests.get_mut(&id).unwrap();
            assert_eq!(*known, (request, Stage::Waiting), "request {id} starts twice or from nowhere");
            known.1 = Stage::Executing;
        }
    }

    fn finish(&mut self, which: usize) {
        let Some((id, request)) = self.pick(Stage::Executing, which) else { return };
        self.requests.get_mut(&id).unwrap().1 = match self.set.finish(self.now_ns, request) {
            Finish::Released => Stage::Ended,
            Finish::Lingering { .. } => Stage::Lingering,
            Finish::Unknown => panic!("request {id} was executing"),
        };
    }

    fn pick(&self, stage: Stage, which: usize) -> Option<(u32, RequestId)> {
        let those: Vec<_> =
            self.requests.iter().filter(|(_, (_, s))| *s == stage).map(|(id, (r, _))| (*id, *r)).collect();
        (!those.is_empty()).then(|| those[which % those.len()])
    }

    fn count(&self, stage: Stage) -> u32 {
        self.requests.values().map(|(_, s)| u32::from(*s == stage)).sum()
    }

    fn check(&self) {
        let (totals, config) = (self.set.totals(), self.set.config());
        assert_eq!(totals.waiting, self.count(Stage::Waiting));
        assert_eq!(totals.executing, self.count(Stage::Executing));
        let width = |stages: &[Stage]| -> u32 {
            let held = self.requests.values().filter(|(_, s)| stages.contains(s));
            held.map(|(request, _)| self.set.work_of(*request).unwrap().width()).sum()
        };
        assert_eq!(totals.seats_in_use, width(&[Stage::Executing, Stage::Lingering]));
        assert_eq!(totals.seats_waiting, width(&[Stage::Waiting]));
        let queues = self.set.queues();
        assert_eq!(totals.waiting, queues.iter().map(|queue| queue.pending).sum::<u32>());
        assert_eq!(totals.seats_waiting, queues.iter().map(|queue| queue.max_seats).sum::<u32>());
        assert!(queues.len() >= usize::try_from(config.queues).unwrap_or(0));
        assert_eq!(self.arrived as usize, self.refused as usize + self.requests.len());
        assert_eq!(totals.rejected, u64::from(self.refused) + totals.cancelled);
    }

    /// Lets everything end; with at least one seat nothing may stay behind.
    fn drain(&mut self) {
        self.apply(Event::Seats(1));
        for _ in 0..4 * (self.requests.len() + 1) {
            self.apply(Event::Finish(0));
            self.apply(Event::Release(0));
            self.check();
        }
        assert_eq!(self.count(Stage::Ended) as usize, self.requests.len(), "a request was lost");
        assert!(self.set.is_idle());
        assert_eq!(self.set.totals().seats_in_use, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn balances_hold_after_every_event(events in prop::collection::vec(event(), 1..120), improved: bool) {
        let mut model = Model::new(if improved { Behaviour::IMPROVED } else { Behaviour::PARITY });
        for event in events {
            model.apply(event);
            model.check();
        }
        model.drain();
    }

    #[test]
    fn no_seat_is_taken_above_the_limit_by_requests_that_fit(
        widths in prop::collection::vec((1..5u32, any::<u64>()), 1..80),
        improved: bool,
    ) {
        let mut model = Model::new(if improved { Behaviour::IMPROVED } else { Behaviour::PARITY });
        for (index, (initial, hash)) in widths.into_iter().enumerate() {
            model.apply(Event::Arrive { hash, initial, last: 0, linger_ms: 0 });
            prop_assert!(model.set.totals().seats_in_use <= 5);
            if index % 3 == 0 {
                model.apply(Event::Finish(index));
                prop_assert!(model.set.totals().seats_in_use <= 5);
            }
        }
    }

    /// A request of all seats waits while narrow ones keep coming, faster than they end.
    #[test]
    fn wide_request_does_not_starve(hashes in prop::collection::vec(any::<u64>(), 100)) {
        let mut model = Model::new(Behaviour::IMPROVED);
        model.apply(Event::Arrive { hash: 1, initial: 1, last: 0, linger_ms: 0 });
        model.apply(Event::Arrive { hash: 2, initial: 5, last: 0, linger_ms: 0 });
        for hash in hashes {
            model.apply(Event::Arrive { hash, initial: 1, last: 0, linger_ms: 0 });
            model.apply(Event::Finish(0));
        }
        prop_assert!(model.requests[&1].1 != Stage::Waiting, "it still waits");
    }
}
