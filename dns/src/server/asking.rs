//! Whom a query is passed on to, and the messages for that.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::time::timeout;

use super::service::Arrival;
use crate::engine::{Chain, Engine, Reply, Source};
use crate::forward::Failure;
use crate::metrics::Metrics;
use crate::name;
use crate::record;
use crate::wire::query::Query;
use crate::wire::relay::{Age, Relayed};
use crate::wire::writer::{Transport, Writer};
use crate::wire::{HEADER, Rcode, UDP_PAYLOAD, kind};
use crate::zone::Resolved;

/// Asks a forwarder of a chain, and keeps what it answers; without an answer, one that is out of
/// date does.
pub(super) async fn upstream(
    engine: &Engine,
    (number, forward): (usize, usize),
    query: &Query<'_>,
    arrival: Arrival,
    metrics: &Metrics,
    out: &mut Vec<u8>,
) -> Reply {
    let chain = &engine.chains()[number];
    let (transport, form) = (arrival.transport, chain.block.form());
    let reply = |rcode| Reply::of(query, rcode, Some(number), Source::Forward);
    let patience = chain.cache.as_ref().and_then(|cache| cache.patience(query, Instant::now()));
    let asking = ask(chain, forward, query, transport);
    let asked = match patience {
        None => asking.await,
        Some(patience) => timeout(patience, asking).await.unwrap_or(Err(Failure::Unreachable)),
    };
    let sound = |answer: &Relayed| answer.rcode() != Rcode::ServFail.code();
    if let Some(cache) = chain.cache.as_ref().filter(|_| !asked.as_ref().is_ok_and(sound))
        && let Some(rcode) = cache.stale(query, transport, form, Instant::now(), out)
    {
        return Reply { source: Source::Cache, ..reply(rcode) };
    }
    match asked {
        Ok(answer) => {
            let cache = chain.cache.as_ref();
            let age = cache.map_or(Age::New(0, u32::MAX), |cache| cache.keep(query, &answer, Instant::now()));
            reply(answer.write(query, transport, form, age, out))
        }
        Err(failure) => {
            let rcode = match failure {
                Failure::Crowded => Rcode::Refused,
                Failure::Question => Rcode::FormErr,
                Failure::Down | Failure::Unreachable => Rcode::ServFail,
            };
            if let (Failure::Question, Some(cache)) = (failure, &chain.cache) {
                cache.note_drop();
            }
            if failure == Failure::Crowded {
                metrics.crowded.fetch_add(1, Ordering::Relaxed);
            }
            tracing::debug!(name = ?query.name, %failure, "an upstream could not be asked");
            Writer::begin(out, query, transport, form).finish(query, rcode, false);
            Reply { failure: Some(failure), ..reply(rcode.code()) }
        }
    }
}

/// Asks for a newer answer than the one that is kept; the old one stays if there is none.
pub(super) async fn renew(engine: &Engine, (number, forward): (usize, usize), query: &Query<'_>) {
    let Some(chain) = engine.chains().get(number) else { return };
    if let (Some(cache), Ok(answer)) = (&chain.cache, ask(chain, forward, query, Transport::Udp).await) {
        cache.keep(query, &answer, Instant::now());
    }
}

/// Asks a forwarder, and those after it for as long as the answers have codes of `next`.
async fn ask(
    chain: &Chain,
    mut forward: usize,
    query: &Query<'_>,
    transport: Transport,
) -> Result<Relayed, Failure> {
    let message = relayable(query);
    loop {
        let asked = chain.forward[forward].ask(&message, transport).await;
        let passed_on = |answer: &Relayed| chain.forward[forward].options.passes_on(answer);
        match chain.forward_of(&query.name, forward + 1) {
            Some(next) if asked.as_ref().is_ok_and(passed_on) => forward = next,
            _ => return asked,
        }
    }
}

/// A query as it goes to an upstream: the question and what the client wants of DNSSEC.
fn relayable(query: &Query<'_>) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[2..4].copy_from_slice(&(query.flags & 0x0130).to_be_bytes());
    message[5] = 1;
    message.extend_from_slice(query.question);
    if let Some(edns) = &query.edns {
        push_opt(&mut message, edns.dnssec);
    }
    message
}

/// A query of the server's own.
pub(super) fn question(target: &[u8], kind: u16, dnssec: bool) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[2] = 0x01;
    message[5] = 1;
    message.extend_from_slice(target);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&kind::IN.to_be_bytes());
    push_opt(&mut message, dnssec);
    message
}

fn push_opt(message: &mut Vec<u8>, dnssec: bool) {
    message[11] = 1;
    message.push(0);
    message.extend_from_slice(&kind::OPT.to_be_bytes());
    message.extend_from_slice(&UDP_PAYLOAD.to_be_bytes());
    message.extend_from_slice(&[0, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}

/// The records of an answer, each by itself.
pub(super) fn records(target: &[u8], answer: &[u8]) -> Option<Resolved> {
    use hickory_proto::op::Message;
    use hickory_proto::rr::Record;

    let message = match Message::from_vec(answer) {
        Ok(message) => message,
        Err(error) => {
            tracing::warn!(target = %name::text(target), %error, "what an alias leads to cannot be read");
            return None;
        }
    };
    let raw = |records: &[Record]| {
        let octets = records.iter().map(|record| record::octets(record).map(Vec::into_boxed_slice));
        octets.collect::<Option<Vec<_>>>()
    };
    Some(Resolved::Records {
        target: target.into(),
        answers: raw(&message.answers)?,
        authority: raw(&message.authorities)?,
        rcode: u16::from(message.metadata.response_code),
        truncated: message.metadata.truncation,
        raw: answer.into(),
    })
}
