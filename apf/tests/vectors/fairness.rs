//! Vectors about fairness: closed-loop clients whose mean seats are compared with fair shares.

use super::Tally;
use seaway_apf::behaviour::Behaviour;
use seaway_apf::queueset::{Arrival, Config, Decision, Finish, QueueSet, Reason, RequestId};
use seaway_apf::seats::Work;
use serde::Deserialize;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenarios {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    queues: i32,
    hand_size: i32,
    queue_length_limit: u32,
    concurrency_limit: u32,
    eval_ns: u64,
    clients: Vec<Client>,
    expect_fair: Vec<bool>,
    margin: Vec<f64>,
    expect_all_executed: bool,
    /// What the reference measured; not a requirement.
    #[serde(rename = "observed")]
    _observed: Option<Value>,
    expected_averages: Option<Vec<f64>>,
    expected_epoch_advances: Option<u64>,
    reject_reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    hash: String,
    threads: u32,
    calls: u32,
    exec_ns: u64,
    think_ns: i64,
    initial_seats: u32,
    final_seats: u32,
    pad_ns: u64,
    split: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Call { client: usize, thread: u32, left: u32 },
    Finish { client: usize, request: RequestId },
    Release { request: RequestId },
}

struct Run<'a> {
    scenario: &'a Scenario,
    set: QueueSet<(), (usize, u32, u32)>,
    schema: u32,
    heap: BinaryHeap<Reverse<(u64, u64, Step)>>,
    sequence: u64,
    /// Seats executing per client, since when, and their integral per half of the time.
    busy: Vec<(u32, u64, [f64; 2])>,
    refused: Vec<Reason>,
}

pub(super) fn scenarios(file: Scenarios, tally: &mut Tally) {
    for scenario in &file.scenarios {
        for (mode, behaviour) in [("parity", Behaviour::PARITY), ("improved", Behaviour::IMPROVED)] {
            let mut run = Run::new(scenario, behaviour);
            run.all();
            run.compare(mode, tally);
        }
    }
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, behaviour: Behaviour) -> Self {
        let config = Config {
            queues: scenario.queues,
            hand_size: scenario.hand_size,
            queue_length_limit: scenario.queue_length_limit,
            seats: scenario.concurrency_limit,
        };
        let mut set = QueueSet::new(config, behaviour, 0).unwrap();
        let schema = set.schema(&Arc::from("fair"), seaway_apf::flow::Distinguisher::None, false);
        let busy = vec![(0, 0, [0.0; 2]); scenario.clients.len()];
        let mut run =
            Self { scenario, set, schema, heap: BinaryHeap::new(), sequence: 0, busy, refused: Vec::new() };
        for (index, client) in scenario.clients.iter().enumerate() {
            for thread in 0..client.threads {
                let mut start = u64::from(90 * thread) + 20 * index as u64;
                let mut left = client.calls;
                if client.split && thread >= client.threads / 2 {
                    start += scenario.eval_ns / 2;
                    left /= 2;
                }
                run.at(start, Step::Call { client: index, thread, left });
            }
        }
        run
    }

    fn at(&mut self, t: u64, step: Step) {
        self.heap.push(Reverse((t, self.sequence, step)));
        self.sequence += 1;
    }

    fn all(&mut self) {
        while let Some(Reverse((now, _, step))) = self.heap.pop() {
            match step {
                Step::Call { client, thread, left } => self.call(now, client, thread, left),
                Step::Finish { client, request } => {
                    self.count(now, client, false);
                    if let Finish::Lingering { until_ns } = self.set.finish(now, request) {
                        self.at(until_ns, Step::Release { request });
                    }
                }
                Step::Release { request } => self.set.release(now, request),
            }
            for (request, (client, thread, left)) in self.set.take_ready() {
                self.execute(now, client, thread, left, request);
            }
        }
    }

    fn call(&mut self, now: u64, client: usize, thread: u32, left: u32) {
        if left == 0 {
            return;
        }
        let given = &self.scenario.clients[client];
        let work = Work {
            initial_seats: given.initial_seats,
            final_seats: given.final_seats,
            linger_ns: given.pad_ns,
        };
        let hash = given.hash.parse().unwrap();
        let arrival = Arrival { hash, work, weight: 1, schema: self.schema, detail: () };
        match self.set.arrive(now, arrival, |_| (client, thread, left - 1)) {
            Decision::Executing(request) => self.execute(now, client, thread, left - 1, request),
            Decision::Waiting(_) => {}
            Decision::Refused(reason) => {
                self.refused.push(reason);
                self.next_call(now, client, thread, left - 1);
            }
        }
    }

    fn execute(&mut self, now: u64, client: usize, thread: u32, left: u32, request: RequestId) {
        self.count(now, client, true);
        self.at(now + self.scenario.clients[client].exec_ns, Step::Finish { client, request });
        self.next_call(now, client, thread, left);
    }

    fn next_call(&mut self, now: u64, client: usize, thread: u32, left: u32) {
        let given = &self.scenario.clients[client];
        let at = (now + given.exec_ns).saturating_add_signed(given.think_ns);
        self.at(at, Step::Call { client, thread, left });
    }

    fn count(&mut self, now: u64, client: usize, starts: bool) {
        self.settle(now, client);
        let seats = self.scenario.clients[client].initial_seats;
        let busy = &mut self.busy[client].0;
        *busy = if starts { *busy + seats } else { *busy - seats };
    }

    fn settle(&mut self, now: u64, client: usize) {
        let (busy, since, halves) = &mut self.busy[client];
        let half = self.scenario.eval_ns / 2;
        for (index, (from, to)) in [(0, half), (half, self.scenario.eval_ns)].into_iter().enumerate() {
            let overlap = now.min(to).saturating_sub((*since).max(from));
            halves[index] += f64::from(*busy) * overlap as f64;
        }
        *since = now;
    }

    fn compare(&mut self, mode: &str, tally: &mut Tally) {
        let scenario = self.scenario;
        for client in 0..scenario.clients.len() {
            self.settle(scenario.eval_ns.max(self.busy[client].1), client);
        }
        let split = scenario.clients.iter().any(|client| client.split);
        let eval = scenario.eval_ns as f64;
        let halves = if split { 2 } else { 1 };
        for half in 0..halves {
            let averages: Vec<f64> = self
                .busy
                .iter()
                .map(|(.., [first, last])| match (split, half) {
                    (false, _) => (first + last) / eval,
                    (true, 0) => first / (eval / 2.0),
                    (true, _) => last / (eval / 2.0),
                })
                .collect();
            let ideal =
                scenario.expected_averages.clone().unwrap_or_else(|| scenario.ideal(half == 0 && split));
            let (fair, margin) = (scenario.expect_fair[half], scenario.margin[half].max(1e-7));
            for (client, (average, ideal)) in averages.iter().zip(&ideal).enumerate() {
                let off = (average - ideal).abs() / ideal;
                tally.equal((&scenario.name, mode, half, client, average, ideal), off <= margin, fair);
            }
        }
        let all_executed = self.refused.is_empty();
        tally.equal((&scenario.name, mode, "all executed"), all_executed, scenario.expect_all_executed);
        if let Some(reason) = &scenario.reject_reason {
            let only = self.refused.iter().all(|refused| refused.as_str() == reason);
            tally.equal((&scenario.name, mode, "reason"), only, true);
        }
        if let Some(epochs) = scenario.expected_epoch_advances {
            tally.equal((&scenario.name, mode, "epochs"), self.set.epochs(), epochs);
        }
    }
}

impl Scenario {
    /// Max-min fair shares of what the clients could use.
    fn ideal(&self, first_half: bool) -> Vec<f64> {
        let mut demands: Vec<f64> = self
            .clients
            .iter()
            .map(|client| {
                let threads = if client.split && first_half { client.threads / 2 } else { client.threads };
                let period = client.exec_ns as f64 + client.think_ns as f64;
                f64::from(threads * client.initial_seats) * client.exec_ns as f64 / period
            })
            .collect();
        let own = demands.clone();
        demands.sort_by(f64::total_cmp);
        let (mut left, mut level) = (f64::from(self.concurrency_limit), f64::INFINITY);
        for (index, demand) in demands.iter().enumerate() {
            let share = left / (demands.len() - index) as f64;
            if *demand > share {
                level = share;
                break;
            }
            left -= demand;
        }
        own.iter().map(|demand| demand.min(level)).collect()
    }
}
