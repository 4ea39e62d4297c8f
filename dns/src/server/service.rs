//! What stands behind all listeners: the engine in force, and whoever has to be waited for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use seaway_cluster::Update;
use seaway_cluster::freshness::Freshness;
use seaway_cluster::requests::Requests;
use tokio::sync::Semaphore;

use super::asking::{question, records, renew, upstream};
use super::http::Page;
use super::report::{Answered, report};
use crate::block::Place;
use crate::engine::{Ask, Context, Engine, Reply, Source, Stage, Step};
use crate::metrics::{Metrics, Sample};
use crate::wire::query::Query;
use crate::wire::writer::{Form, Transport, Writer};
use crate::wire::{Rcode, kind};
use crate::zone::Resolved;

/// Queries that wait for somebody else at once; more are shed.
pub(super) const WAITING_MAX: usize = 4096;
/// How often one query may lead to another. Aliases within a zone do not count.
const ROUNDS_MAX: usize = 8;
/// A resolver may ask again; a loop asks on and on.
const PROBES_SEEN_MAX: u32 = 2;
/// Tasks share the stripe of counters after those of the threads.
const TASKS: usize = usize::MAX;

/// Answers queries from whatever listener.
#[derive(Debug)]
pub struct Service {
    engine: ArcSwap<Engine>,
    metrics: Arc<Metrics>,
    waiting: Arc<Semaphore>,
    stopping: AtomicBool,
    /// It has been ready once.
    was_ready: AtomicBool,
    /// How old the facts are.
    freshness: OnceLock<Freshness>,
    /// What was asked of the API server.
    requests: OnceLock<Requests>,
    turn: AtomicUsize,
    probe: Mutex<Option<Probe>>,
}

/// A query that must not come back.
#[derive(Debug)]
struct Probe {
    name: Box<[u8]>,
    seen: u32,
}

/// How a query came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) transport: Transport,
    pub(super) place: Place,
    pub(super) peer: SocketAddr,
    /// The address that was asked, where it is known.
    pub(super) local: Option<IpAddr>,
}

impl Service {
    /// A service with the engine of a configuration.
    pub fn new(engine: Engine) -> Arc<Self> {
        engine.trace_panics();
        let metrics = Arc::new(Metrics::default());
        let engine = ArcSwap::from_pointee(engine.counted(&metrics));
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Arc::new(Self {
            engine,
            metrics,
            waiting,
            stopping: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            freshness: OnceLock::new(),
            requests: OnceLock::new(),
            turn: AtomicUsize::new(0),
            probe: Mutex::default(),
        })
    }

    /// The engine in force.
    pub fn engine(&self) -> Guard<Arc<Engine>> {
        self.engine.load()
    }

    /// Puts another engine in force: the next query meets it. Listeners stay as they are, and so does
    /// what blocks have learned that did not change.
    pub fn replace(&self, engine: Engine) {
        engine.trace_panics();
        let engine = engine.counted(&self.metrics).inherit(&self.engine());
        self.engine.store(Arc::new(engine));
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// From now on it is not ready, and goes on answering.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// From now on it is ready only while the facts are fresh, unless its configuration says otherwise.
    pub fn follow(&self, facts: &Update) {
        // There is one source for the whole life of a server.
        self.freshness.get_or_init(|| facts.freshness.clone());
        self.requests.get_or_init(|| facts.requests.clone());
    }

    /// Why it is not ready at a moment; `None` if it is.
    pub fn unready(&self, now: Instant) -> Option<String> {
        if self.stopping.load(Ordering::Acquire) {
            return Some("stopping".to_owned());
        }
        let engine = self.engine();
        let once = engine.chains().iter().any(|chain| chain.block.ready.is_some_and(|ready| ready.once));
        if once && self.was_ready.load(Ordering::Relaxed) {
            return None;
        }
        let mut known = engine.chains().iter().filter_map(|chain| chain.kubernetes.as_ref()).peekable();
        let serves = known.peek().is_some();
        if known.any(|kubernetes| !kubernetes.index().synced) {
            return Some("kubernetes".to_owned());
        }
        let stale = self.freshness.get().filter(|_| serves).and_then(|freshness| freshness.stale(now));
        if let Some(stale) = stale {
            return Some(format!("kubernetes: {stale}"));
        }
        self.was_ready.store(true, Ordering::Relaxed);
        None
    }

    /// What is counted, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never, as long as a `String` can grow.
    pub fn metrics_text(&self) -> Result<String, fmt::Error> {
        let engine = self.engine();
        self.metrics.forget_sizes();
        engine.chains().iter().filter_map(|chain| chain.cache.as_ref()).for_each(|cache| cache.tell_sizes());
        if let Some(freshness) = self.freshness.get() {
            self.metrics.note_followed(freshness.followed(), Instant::now());
        }
        if let Some(requests) = self.requests.get() {
            self.metrics.note_asked(requests.asked());
        }
        self.metrics.text()
    }

    /// The pages that the configuration asks for, and where.
    pub(super) fn pages(&self) -> Vec<(SocketAddr, Page)> {
        let engine = self.engine();
        let blocks = engine.chains().iter().map(|chain| &chain.block);
        let mut pages: Vec<(SocketAddr, Page)> = blocks
            .flat_map(|block| {
                let health = block.health.map(|health| (health.address, Page::Health));
                let ready = block.ready.map(|ready| (ready.address, Page::Ready));
                let metrics = block.prometheus.map(|address| (address, Page::Metrics));
                [health, ready, metrics]
            })
            .flatten()
            .collect();
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    pub(super) fn count(&self, thread: usize, sample: &Sample) {
        let engine = self.engine();
        if let Some(chain) = sample.reply.chain.and_then(|number| engine.chains().get(number)) {
            chain.count(thread, sample);
        }
    }

    /// Answers a query that has to wait, in a task; sheds it if too many wait already.
    pub(super) fn later(
        self: Arc<Self>,
        query: Vec<u8>,
        arrival: Arrival,
        send: impl FnOnce(&[u8]) + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else {
            self.metrics.shed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        tokio::spawn(async move {
            let _permit = permit;
            if let Some(answer) = self.resolve(query, arrival).await {
                send(&answer);
            }
        });
    }

    /// Asks, in a task, for a newer answer than the one a client has just got.
    pub(super) fn refresh(self: Arc<Self>, query: Vec<u8>, reply: Reply) {
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            let engine = self.engine.load_full();
            if let (Ok(query), Some(chain), Some(forward)) = (Query::read(&query), reply.chain, reply.refresh)
            {
                renew(&engine, (chain, forward), &query).await;
            }
        });
    }

    /// Answers a query, however long it takes; `None` if it is none.
    pub(super) async fn resolve(self: Arc<Self>, query: Vec<u8>, arrival: Arrival) -> Option<Vec<u8>> {
        let begun = Instant::now();
        let (answer, reply) = self.rounds(&query, arrival, Stage::Client, ROUNDS_MAX).await?;
        if reply.refresh.is_some() {
            Arc::clone(&self).refresh(query.clone(), reply);
        }
        let engine = self.engine();
        if engine.reports(&reply) {
            let Arrival { transport, peer, local, .. } = arrival;
            let (client, took) = (Some(peer), begun.elapsed());
            let (query, answer, reply) = (&query, &answer, &reply);
            report(&engine, &Answered { query, answer, reply, transport, client, local, took });
        }
        let sample = Sample {
            reply,
            transport: arrival.transport,
            v6: arrival.peer.is_ipv6(),
            request: query.len(),
            response: answer.len(),
            took: begun.elapsed(),
        };
        self.count(TASKS, &sample);
        Some(answer)
    }

    /// Answers one query as if it had come over TCP; `None` if it gets no answer.
    pub async fn answer(&self, query: &[u8], port: u16, peer: SocketAddr) -> Option<(Vec<u8>, Reply)> {
        let arrival = Arrival { transport: Transport::Tcp, place: port.into(), peer, local: None };
        self.rounds(query, arrival, Stage::Client, ROUNDS_MAX).await
    }

    /// Counts a panic that was caught.
    pub(super) fn note_panic(&self) {
        self.metrics.panics.fetch_add(1, Ordering::Relaxed);
    }

    async fn rounds(
        &self,
        query: &[u8],
        arrival: Arrival,
        stage: Stage,
        rounds: usize,
    ) -> Option<(Vec<u8>, Reply)> {
        let engine = self.engine.load_full();
        let mut out = Vec::new();
        let mut resolved = None;
        for _ in 0..rounds {
            let context = Context {
                peer: Some(arrival.peer),
                stage,
                turn: self.turn.fetch_add(1, Ordering::Relaxed),
                resolved: resolved.as_ref(),
                ..Context::new(arrival.transport, arrival.place, Instant::now())
            };
            match engine.step(query, context, &mut out) {
                Step::Reply(reply) => return Some((out, reply)),
                Step::Silence => return None,
                Step::Ask(Ask::Own(target)) => {
                    resolved = Some(Box::pin(self.own(query, &target, arrival, rounds - 1)).await);
                }
                Step::Ask(Ask::Whole(question)) => {
                    let arrival = Arrival { transport: Transport::Tcp, ..arrival };
                    let asked = Box::pin(self.rounds(&question, arrival, Stage::Rewritten, rounds - 1)).await;
                    let (answer, _) = asked?;
                    resolved = Some(Resolved::Whole { question, answer: answer.into() });
                }
                Step::Ask(Ask::Upstream { chain, forward }) => {
                    let query = Query::read(query).ok()?;
                    self.note_probe(&query);
                    let reply =
                        upstream(&engine, (chain, forward), &query, arrival, &self.metrics, &mut out).await;
                    return Some((out, reply));
                }
            }
        }
        let query = Query::read(query).ok()?;
        Some((
            out_of_rounds(&query, arrival),
            Reply::of(&query, Rcode::ServFail.code(), None, Source::Forward),
        ))
    }

    /// Finds out whether queries for `zone` come back to this server, as they do when an upstream
    /// forwards to it: then each query would go round until it times out. `name` is one that
    /// nobody else asks for.
    pub async fn comes_back(&self, chain: usize, name: &[u8]) -> bool {
        let engine = self.engine.load_full();
        let message = question(name, kind::HINFO, false);
        let Ok(query) = Query::read(&message) else { return false };
        *self.probe.lock() = Some(Probe { name: query.name.folded_wire().into(), seen: 0 });
        let chain = &engine.chains()[chain];
        if let Some(forward) = chain.forward.iter().find(|forward| forward.takes(&query.name)) {
            // Whether and what anybody answers says nothing: only coming back does.
            if let Err(failure) = forward.ask(&message, Transport::Udp).await {
                tracing::debug!(%failure, "the probe for loops was not answered");
            }
        }
        let probe = self.probe.lock().take();
        probe.is_some_and(|probe| probe.seen > PROBES_SEEN_MAX)
    }

    fn note_probe(&self, query: &Query<'_>) {
        if query.kind == kind::HINFO
            && let Some(probe) = &mut *self.probe.lock()
            && *probe.name == *query.name.folded_wire()
        {
            probe.seen += 1;
        }
    }

    /// What the server itself answers for the name that an alias leads to.
    async fn own(&self, query: &[u8], target: &[u8], arrival: Arrival, rounds: usize) -> Resolved {
        let Ok(query) = Query::read(query) else { return Resolved::Failed };
        let message = question(target, query.kind, query.edns.is_some_and(|edns| edns.dnssec));
        let arrival = Arrival { transport: Transport::Tcp, ..arrival };
        let Some((answer, reply)) = self.rounds(&message, arrival, Stage::Own, rounds).await else {
            return Resolved::Failed;
        };
        match (reply.source, reply.rcode) {
            (Source::Server, _) => Resolved::Nobody,
            (_, 0 | 3) => records(target, &answer).unwrap_or(Resolved::Failed),
            _ => Resolved::Failed,
        }
    }
}

fn out_of_rounds(query: &Query<'_>, arrival: Arrival) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::begin(&mut out, query, arrival.transport, Form::FULL).finish(query, Rcode::ServFail, false);
    out
}
