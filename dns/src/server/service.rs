//! What stands behind all listeners: the engine in force, and whoever has to be waited for.

mod pages;
mod rounds;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use rounds::Probe;
use seaway_cluster::freshness::Freshness;
use seaway_cluster::requests::Requests;
use tokio::sync::Semaphore;

use super::asking::renew;
use super::report::{Answered, report};
use crate::block::Place;
use crate::engine::{Engine, Reply, Stage};
use crate::metrics::{Metrics, Sample};
use crate::wire::query::Query;
use crate::wire::writer::Transport;

/// Queries that wait for somebody else at once; more are shed.
pub(super) const WAITING_MAX: usize = 4096;
/// How often one query may lead to another. Aliases within a zone do not count.
const ROUNDS_MAX: usize = 8;
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
}
