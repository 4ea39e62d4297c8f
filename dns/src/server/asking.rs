//! Whom a query is passed on to, and the messages for that.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::service::Arrival;
use crate::engine::{Engine, Reply, Source};
use crate::forward::Failure;
use crate::metrics::Metrics;
use crate::name;
use crate::record;
use crate::wire::query::Query;
use crate::wire::relay::{Age, Relayed};
use crate::wire::writer::Writer;
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
    let asked = chain.forward[forward].ask(&relayable(query), transport).await;
    let sound = |answer: &Relayed| answer.rcode() != Rcode::ServFail.code();
    if let Some(cache) = chain.cache.as_ref().filter(|_| !asked.as_ref().is_ok_and(sound))
        && let Some(rcode) = cache.stale(query, transport, form, Instant::now(), out)
    {
        metrics.served_stale.fetch_add(1, Ordering::Relaxed);
        return Reply { source: Source::Cache, ..reply(rcode) };
    }
    match asked {
        Ok(answer) => {
            let cache = chain.cache.as_ref();
            let age = cache.map_or(Age::New(0, u32::MAX), |cache| cache.keep(query, &answer, Instant::now()));
            reply(answer.write(query, transport, form, age, out))
        }
        Err(failure) => {
            let rcode = if failure == Failure::Crowded { Rcode::Refused } else { Rcode::ServFail };
            if failure == Failure::Crowded {
                metrics.crowded.fetch_add(1, Ordering::Relaxed);
            }
            tracing::debug!(name = ?query.name, %failure, "an upstream could not be asked");
            Writer::begin(out, query, transport, form).finish(query, rcode, false);
            reply(rcode.code())
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
