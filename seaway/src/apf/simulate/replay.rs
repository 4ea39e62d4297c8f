//! The event loop of a simulation.

use super::load::{Client, Load, ns};
use crate::apf::Limiter;
use crate::apf::explain::attributes;
use crate::apf::max_in_flight::{Limits, MaxInFlight};
use seaway_apf::borrow::PERIOD_NS;
use seaway_apf::engine::{Admission, Engine, Route, Settings};
use seaway_apf::level::Waiter;
use seaway_apf::queueset::{Finish, RequestId};
use seaway_apf::read::Configuration;
use seaway_apf::request::{Attributes, RequestInfo};
use seaway_apf::seats::Work;
use seaway_apf::wait;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

/// Time after which a refused client of the old way tries again.
const OLD_RETRY_NS: u64 = 1_000_000_000;

/// Requests replayed through the event clock.
pub(super) struct Replay<'a> {
    limiter: Limiter,
    engine: Engine<Start>,
    old: MaxInFlight,
    load: &'a Load,
    senders: Vec<Sender>,
    requests: Vec<Request>,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    started: Rc<RefCell<Vec<usize>>>,
    /// What became of every request, in order of arrival.
    pub outcomes: Vec<Outcome>,
}

/// What became of one request.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub flow: String,
    pub level: String,
    pub arrived_ns: u64,
    pub started_ns: Option<u64>,
    pub ended_ns: u64,
    pub seats: u32,
    pub refused: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send { sender: usize },
    Finish { request: usize },
    Release { request: usize },
    TimeOut { request: usize },
    Tick,
}

struct Sender {
    attributes: Arc<Attributes>,
    client: Option<Client>,
    exec_ms: f64,
    work: Option<Work>,
    end_ns: u64,
    random: Random,
}

/// A stream of random numbers (splitmix64). Each sender has its own: what one does, and whatever it
/// meets, changes nothing for the others, and a comparison replays the same requests.
struct Random(u64);

struct Request {
    sender: usize,
    exec_ms: f64,
    route: Option<(Arc<Route<Start>>, RequestId)>,
}

struct Start {
    request: usize,
    started: Rc<RefCell<Vec<usize>>>,
}

impl Waiter for Start {
    fn start(self) {
        self.started.borrow_mut().push(self.request);
    }
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        settings: Settings,
        configuration: &Configuration,
        limiter: Limiter,
        limits: Limits,
        load: &'a Load,
    ) -> Self {
        let engine = Engine::new(settings, 0);
        engine.digest(0, configuration);
        let mut replay = Self {
            limiter,
            engine,
            old: MaxInFlight::new(limits),
            load,
            senders: Vec::new(),
            requests: Vec::new(),
            heap: BinaryHeap::new(),
            sequence: 0,
            started: Rc::default(),
            outcomes: Vec::new(),
        };
        replay.schedule(PERIOD_NS, Event::Tick);
        for client in &load.clients {
            replay.add_client(client);
        }
        for logged in &load.log {
            let request = RequestInfo::parse(&logged.method, &logged.url);
            let attributes = attributes(logged.user.clone(), logged.groups.clone(), request);
            let sender = replay.senders.len();
            replay.senders.push(Sender {
                attributes: Arc::new(attributes),
                client: None,
                exec_ms: logged.exec_ms,
                work: logged.seats.map(Work::seats),
                end_ns: u64::MAX,
                random: Random::new(load.seed, sender),
            });
            replay.schedule(ns(logged.t_ms), Event::Send { sender });
        }
        replay
    }

    /// Runs until every request has ended; `progress` is told the time now and then.
    pub(super) fn run(&mut self, mut progress: impl FnMut(u64)) {
        let mut steps = 0u64;
        while let Some(Reverse((now, _, event))) = self.heap.pop() {
            match event {
                Event::Send { sender } => self.send(now, sender),
                Event::Finish { request } => self.finish(now, request),
                Event::TimeOut { request } => self.time_out(now, request),
                Event::Release { request } => {
                    if let Some((route, id)) = &self.requests[request].route {
                        route.level().release(now, *id);
                    }
                }
                Event::Tick => {
                    self.engine.tick(now);
                    if !self.heap.is_empty() {
                        self.schedule(now + PERIOD_NS, Event::Tick);
                    }
                }
            }
            self.execute_started(now);
            steps += 1;
            if steps.is_multiple_of(4096) {
                progress(now);
            }
        }
    }

    fn add_client(&mut self, client: &Client) {
        let (method, url) = client.request.split_once(' ').unwrap_or(("GET", &client.request));
        let who = attributes(client.user.clone(), client.groups.clone(), RequestInfo::parse(method, url));
        let who = Arc::new(who);
        let (start, end) = (ns(client.start_s * 1e3), client.end_s.map_or(u64::MAX, |end| ns(end * 1e3)));
        for thread in 0..client.concurrency.unwrap_or(1) {
            let sender = self.senders.len();
            self.senders.push(Sender {
                attributes: Arc::clone(&who),
                client: Some(client.clone()),
                exec_ms: client.exec_ms,
                work: client.seats.map(Work::seats),
                end_ns: end.min(self.load.end_ns()),
                random: Random::new(self.load.seed, sender),
            });
            self.schedule(start + u64::from(thread) * 1_000, Event::Send { sender });
        }
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        self.heap.push(Reverse((at_ns, self.sequence, event)));
        self.sequence += 1;
    }

    fn send(&mut self, now: u64, sender: usize) {
        let given = &mut self.senders[sender];
        if now > given.end_ns {
            return;
        }
        let rate = given.client.as_ref().and_then(|client| client.rate_per_s);
        let gap_ms = rate.map(|rate| given.random.exponential(1e3 / rate));
        let exec_ms = match &given.client {
            Some(_) => given.random.exponential(given.exec_ms),
            None => given.exec_ms,
        };
        if let Some(gap_ms) = gap_ms {
            self.schedule(now + ns(gap_ms), Event::Send { sender });
        }
        let request = self.requests.len();
        self.requests.push(Request { sender, exec_ms, route: None });
        self.outcomes.push(Outcome {
            flow: self.senders[sender].attributes.user.clone(),
            level: String::new(),
            arrived_ns: now,
            started_ns: None,
            ended_ns: now,
            seats: self.senders[sender].work.map_or(1, Work::width),
            refused: None,
        });
        match self.limiter {
            Limiter::Apf => self.arrive(now, request),
            Limiter::MaxInFlight => {
                if self.old.enter(self.senders[sender].attributes.request.is_read_only()) {
                    self.execute(now, request);
                } else {
                    self.refuse(now, request, "too-many-requests", OLD_RETRY_NS);
                }
            }
        }
    }

    fn arrive(&mut self, now: u64, request: usize) {
        let sender = &self.senders[self.requests[request].sender];
        let start = Start { request, started: Rc::clone(&self.started) };
        match self.engine.arrive_with(now, &sender.attributes, sender.work, || start) {
            Admission::Accepted(ticket) => {
                let outcome = &mut self.outcomes[request];
                outcome.level = ticket.route.names().level.to_string();
                outcome.seats = ticket.work.width();
                self.requests[request].route = Some((ticket.route, ticket.id));
                if ticket.waits {
                    self.schedule(now + wait::DEFAULT_NS, Event::TimeOut { request });
                } else {
                    self.execute(now, request);
                }
            }
            Admission::Untracked(names) => {
                self.outcomes[request].level = names.level.to_string();
                self.execute(now, request);
            }
            Admission::Refused(refusal) => {
                self.outcomes[request].level = refusal.names.level.to_string();
                self.refuse(now, request, refusal.reason.as_str(), refusal.retry_after_s * 1_000_000_000);
            }
        }
    }

    fn execute_started(&mut self, now: u64) {
        let started = std::mem::take(&mut *self.started.borrow_mut());
        for request in started {
            self.execute(now, request);
        }
    }

    fn execute(&mut self, now: u64, request: usize) {
        self.outcomes[request].started_ns = Some(now);
        let exec_ms = self.requests[request].exec_ms;
        self.schedule(now + ns(exec_ms).max(1), Event::Finish { request });
    }

    fn finish(&mut self, now: u64, request: usize) {
        self.outcomes[request].ended_ns = now;
        let sender = self.requests[request].sender;
        match &self.requests[request].route {
            Some((route, id)) => {
                if let Finish::Lingering { until_ns } = route.level().finish(now, *id) {
                    self.schedule(until_ns, Event::Release { request });
                }
            }
            None if self.limiter == Limiter::Apf => {}
            None => self.old.leave(self.senders[sender].attributes.request.is_read_only()),
        }
        self.next(now, sender, 0);
    }

    fn time_out(&mut self, now: u64, request: usize) {
        let Some((route, id)) = &self.requests[request].route else { return };
        if self.outcomes[request].started_ns.is_none() && route.level().cancel(now, *id) {
            self.refuse(now, request, "time-out", 0);
        }
    }

    fn refuse(&mut self, now: u64, request: usize, reason: &'static str, retry_ns: u64) {
        let outcome = &mut self.outcomes[request];
        (outcome.refused, outcome.ended_ns) = (Some(reason), now);
        self.next(now, self.requests[request].sender, retry_ns);
    }

    /// A client that keeps so many requests going sends its next one.
    fn next(&mut self, now: u64, sender: usize, after_ns: u64) {
        let client = self.senders[sender].client.as_ref();
        let Some(think_ms) = client.filter(|c| c.concurrency.is_some()).map(|c| c.think_ms) else { return };
        self.schedule(now + after_ns + ns(think_ms).max(1), Event::Send { sender });
    }
}

impl Random {
    fn new(seed: u64, sender: usize) -> Self {
        let mut own = Self((seed ^ (sender as u64).rotate_left(32)).wrapping_mul(0xff51_afd7_ed55_8ccd));
        // Neighbouring seeds start with streams far apart.
        Self(own.next())
    }

    /// An exponentially distributed time (inverse transform).
    fn exponential(&mut self, mean: f64) -> f64 {
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        -mean * (1.0 - uniform).ln()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
