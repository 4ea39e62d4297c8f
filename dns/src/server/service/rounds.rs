//! A query that leads to others: names that aliases lead to, names that were rewritten, upstreams.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Arrival, Service};
use crate::engine::{Ask, Context, Reply, Source, Stage, Step};
use crate::server::asking::{question, records, upstream};
use crate::wire::query::Query;
use crate::wire::writer::{Form, Transport, Writer};
use crate::wire::{Rcode, kind};
use crate::zone::Resolved;

/// A resolver may ask again; a loop asks on and on.
const PROBES_SEEN_MAX: u32 = 2;

/// A query that must not come back.
#[derive(Debug)]
pub(super) struct Probe {
    name: Box<[u8]>,
    seen: u32,
}

impl Service {
    /// Answers a query, or `None` if it gets no answer. `rounds`: how often it may lead to another one.
    pub(super) async fn rounds(
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
