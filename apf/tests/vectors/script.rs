//! Drives a queue set by a script of events: arrivals, and what follows from them.

use seaway_apf::behaviour::Behaviour;
use seaway_apf::queueset::{Arrival, Config, Decision, Finish, QueueSet, Reason, RequestId};
use seaway_apf::seats::Work;
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub queues: i32,
    pub hand_size: i32,
    pub queue_length_limit: u32,
    pub concurrency_limit: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Event {
    Arrive {
        t: u64,
        id: u32,
        #[serde(default, rename = "flow")]
        _flow: String,
        hash: String,
        init_seats: u32,
        #[serde(default)]
        final_seats: u32,
        #[serde(default)]
        extra_ns: u64,
        #[serde(default)]
        exec_ns: u64,
        #[serde(default)]
        wait_ns: u64,
    },
    Reconfig {
        t: u64,
        queues: Option<i32>,
        hand_size: Option<i32>,
        queue_length_limit: Option<u32>,
        concurrency_limit: Option<u32>,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    pub refused: Option<Reason>,
    pub at_ns: u64,
    pub queue: Option<i64>,
    pub r_at_dispatch: Option<u64>,
    pub r_at_arrival: Option<u64>,
}

enum Step {
    File(Event),
    Finish(u32),
    TimeOut(u32),
    Release(RequestId),
}

/// A queue set with its clock.
pub(super) struct Script {
    pub set: QueueSet<u32, u32>,
    pub now_ns: u64,
    pub outcomes: BTreeMap<u32, Outcome>,
    pub dispatch_order: Vec<u32>,
    pub most_seats: u32,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    steps: BTreeMap<u64, Step>,
    sequence: u64,
    ids: BTreeMap<u32, RequestId>,
    exec_ns: BTreeMap<u32, u64>,
    schema: u32,
    /// As asked for; the set keeps the length limit while there are no queues.
    config: Config,
}

impl Script {
    pub(super) fn new(shape: Shape, behaviour: Behaviour, events: Vec<Event>) -> Self {
        let config = Config {
            queues: shape.queues,
            hand_size: shape.hand_size,
            queue_length_limit: shape.queue_length_limit,
            seats: shape.concurrency_limit,
        };
        let mut set = QueueSet::new(config, behaviour, 0).unwrap();
        let schema = set.schema(&Arc::from("script"), seaway_apf::flow::Distinguisher::None, false);
        let mut script = Self {
            set,
            now_ns: 0,
            outcomes: BTreeMap::new(),
            dispatch_order: Vec::new(),
            most_seats: 0,
            heap: BinaryHeap::new(),
            steps: BTreeMap::new(),
            sequence: 0,
            ids: BTreeMap::new(),
            exec_ns: BTreeMap::new(),
            schema,
            config,
        };
        for event in events {
            let (Event::Arrive { t, .. } | Event::Reconfig { t, .. }) = &event;
            script.at(*t, Step::File(event));
        }
        script
    }

    /// Runs all events; `check` looks at the set after each.
    pub(super) fn run(&mut self, mut check: impl FnMut(&mut Self)) {
        while let Some(Reverse((t, sequence))) = self.heap.pop() {
            self.now_ns = t;
            match self.steps.remove(&sequence).unwrap() {
                Step::File(event) => self.file_event(event),
                Step::Finish(id) => self.finish(id),
                Step::TimeOut(id) => self.time_out(id),
                Step::Release(id) => self.set.release(t, id),
            }
            self.started();
            self.most_seats = self.most_seats.max(self.set.totals().seats_in_use);
            check(self);
        }
    }

    fn at(&mut self, t: u64, step: Step) {
        self.heap.push(Reverse((t, self.sequence)));
        self.steps.insert(self.sequence, step);
        self.sequence += 1;
    }

    fn file_event(&mut self, event: Event) {
        let now = self.now_ns;
        match event {
            Event::Arrive { id, hash, init_seats, final_seats, extra_ns, exec_ns, wait_ns, .. } => {
                let work = Work { initial_seats: init_seats, final_seats, linger_ns: extra_ns };
                let hash = hash.parse().unwrap();
                let arrival = Arrival { hash, work, weight: 1, schema: self.schema, detail: id };
                self.exec_ns.insert(id, exec_ns);
                let decision = self.set.arrive(now, arrival, |_| id);
                match decision {
                    Decision::Refused(reason) => {
                        let outcome = Outcome { refused: Some(reason), at_ns: now, ..Outcome::default() };
                        self.outcomes.insert(id, outcome);
                    }
                    Decision::Executing(request) => {
                        self.ids.insert(id, request);
                        self.started();
                        self.execute(id);
                    }
                    Decision::Waiting(request) => {
                        self.ids.insert(id, request);
                        self.started();
                        if wait_ns > 0 {
                            self.at(now + wait_ns, Step::TimeOut(id));
                        }
                    }
                }
            }
            Event::Reconfig { queues, hand_size, queue_length_limit, concurrency_limit, .. } => {
                let mut config = self.config;
                config.queues = queues.unwrap_or(config.queues);
                config.hand_size = hand_size.unwrap_or(config.hand_size);
                config.queue_length_limit = queue_length_limit.unwrap_or(config.queue_length_limit);
                config.seats = concurrency_limit.unwrap_or(config.seats);
                self.config = config;
                self.set.reconfigure(now, config).unwrap();
            }
        }
    }

    fn started(&mut self) {
        for (_, id) in self.set.take_ready() {
            self.execute(id);
        }
    }

    fn execute(&mut self, id: u32) {
        self.dispatch_order.push(id);
        let request = self.ids[&id];
        let outcome = Outcome {
            refused: None,
            at_ns: self.now_ns,
            queue: Some(self.set.queue_of(request).map_or(-1, i64::from)),
            r_at_dispatch: Some(self.set.progress().0),
            r_at_arrival: self.set.arrival_r(request).map(|r| r.0),
        };
        assert!(self.outcomes.insert(id, outcome).is_none(), "request {id} ends twice");
        self.at(self.now_ns + self.exec_ns[&id], Step::Finish(id));
    }

    fn finish(&mut self, id: u32) {
        let request = self.ids[&id];
        if let Finish::Lingering { until_ns } = self.set.finish(self.now_ns, request) {
            self.at(until_ns, Step::Release(request));
        }
    }

    fn time_out(&mut self, id: u32) {
        let request = self.ids[&id];
        let outcome = Outcome {
            refused: Some(Reason::TimeOut),
            at_ns: self.now_ns,
            queue: self.set.queue_of(request).map(i64::from),
            r_at_dispatch: None,
            r_at_arrival: self.set.arrival_r(request).map(|r| r.0),
        };
        if self.set.cancel(self.now_ns, request) {
            assert!(self.outcomes.insert(id, outcome).is_none(), "request {id} ends twice");
        }
    }
}
