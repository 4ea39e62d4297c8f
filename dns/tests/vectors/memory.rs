//! The server without sockets.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, rdata};
use hickory_proto::serialize::binary::BinEncodable;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Ask, Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::wire::query::Query;
use seaway_dns::wire::relay::{Age, Relayed};
use seaway_dns::wire::writer::Transport;
use seaway_dns::zone::Resolved;

use super::suite::{Expected, Suite, Upstream};
use crate::Server;

const PORT: u16 = 53;

pub(crate) struct Memory {
    engine: Engine,
    upstream: Option<Upstream>,
}

impl Memory {
    /// A server set up as a suite says.
    pub(crate) fn new(suite: &Suite) -> Result<Self, String> {
        let unserved = suite.config.unserved();
        if !unserved.is_empty() {
            return Err(format!("not served: {}", unserved.join(", ")));
        }
        let upstream = suite.config.upstream.as_ref().map(|_| "127.0.0.1:1".parse().unwrap());
        let text = suite.config.corefile(PORT, upstream);
        let mut blocks = corefile::parse(&text, Path::new(".")).map_err(|error| error.to_string())?;
        localize(&mut blocks, &suite.config.local_ips);
        let engine = Engine::new(blocks);
        if suite.config.synced != Some(false) {
            let mut feed = Feed::new(&engine);
            for state in suite.states() {
                feed.update(&engine, &Arc::new(Snapshot::from_manifests(&state).0), 1);
            }
        }
        Ok(Self { engine, upstream: suite.config.upstream.clone() })
    }

    fn resolve(&self, target: &[u8], kind: u16) -> Resolved {
        let query =
            [&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], target, &kind.to_be_bytes(), &[0, 1]].concat();
        match &self.upstream {
            None => Resolved::Nobody,
            Some(upstream) => match canned(upstream, &query) {
                None => Resolved::Failed,
                Some(message) => {
                    let raw = |records: &[Record]| {
                        records.iter().map(|record| record.to_bytes().unwrap().into()).collect()
                    };
                    Resolved::Records {
                        target: target.into(),
                        answers: raw(&message.answers),
                        authority: raw(&message.authorities),
                        truncated: message.metadata.truncation,
                    }
                }
            },
        }
    }
}

impl Server for Memory {
    fn ask(&mut self, query: &[u8], tcp: Option<bool>) -> Option<Vec<u8>> {
        let transport = if tcp == Some(true) { Transport::Tcp } else { Transport::Udp };
        let mut out = Vec::new();
        let mut resolved = None;
        loop {
            let context =
                Context { transport, port: PORT, turn: 0, resolved: resolved.as_ref(), now: Instant::now() };
            match self.engine.step(query, context, &mut out) {
                Step::Reply(_) => return Some(out),
                Step::Silence => return None,
                Step::Ask(Ask::Own(target)) => {
                    resolved = Some(self.resolve(&target, Query::read(query).unwrap().kind));
                }
                Step::Ask(Ask::Upstream { .. }) => {
                    let message = canned(self.upstream.as_ref()?, query)?.to_vec().unwrap();
                    let parsed = Query::read(query).unwrap();
                    let age = Age::New(0, u32::MAX);
                    Relayed::read(&message, query).unwrap().write(
                        &parsed,
                        transport,
                        u16::MAX,
                        age,
                        &mut out,
                    );
                    return Some(out);
                }
            }
        }
    }
}

/// Gives the addresses that a server would find on its interfaces.
pub(crate) fn localize(blocks: &mut [seaway_dns::block::Block], local_ips: &[IpAddr]) {
    for block in blocks {
        if let Some(options) = &mut block.kubernetes {
            Arc::make_mut(options).local_ips = local_ips.to_vec();
        }
    }
}

/// What the upstream answers; `None` if it fails.
pub(crate) fn canned(upstream: &Upstream, query: &[u8]) -> Option<Message> {
    let Upstream::Canned(canned) = upstream else { return None };
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    let found = canned.iter().find(|entry| {
        entry.qname.eq_ignore_ascii_case(&question.name().to_ascii())
            && entry.qtype == question.query_type().to_string()
    });
    match found {
        Some(entry) => {
            let code = match entry.rcode.as_str() {
                "NOERROR" => ResponseCode::NoError,
                "NXDOMAIN" => ResponseCode::NXDomain,
                "REFUSED" => ResponseCode::Refused,
                _ => ResponseCode::ServFail,
            };
            message.metadata.response_code = code;
            message.answers = entry.answer.iter().map(|expected| record(expected, question.name())).collect();
            message.authorities =
                entry.authority.iter().map(|expected| record(expected, question.name())).collect();
        }
        None => {
            message.metadata.response_code = ResponseCode::NXDomain;
            let soa = rdata::SOA::new(name("a."), name("b."), 1, 2, 3, 4, 60);
            message.authorities.push(Record::from_rdata(Name::root(), 60, RData::SOA(soa)));
        }
    }
    message.queries.push(question);
    Some(message)
}

/// A canned record, its owner in the case of the question, as servers spell it.
fn record(expected: &Expected, asked: &Name) -> Record {
    let owner = name(&expected.name);
    let owner = if owner == *asked { asked.clone() } else { owner };
    let text = expected.data.as_str().unwrap_or_default();
    let data = match expected.kind.as_str() {
        "A" => RData::A(text.parse().unwrap()),
        "AAAA" => RData::AAAA(text.parse().unwrap()),
        "CNAME" => RData::CNAME(rdata::CNAME(name(text))),
        "PTR" => RData::PTR(rdata::PTR(name(text))),
        "SOA" => {
            let field = |field: &str| expected.data[field].as_str().unwrap_or("ns.").to_owned();
            RData::SOA(rdata::SOA::new(
                name(&field("mname")),
                name(&field("rname")),
                1,
                7200,
                1800,
                86_400,
                60,
            ))
        }
        other => panic!("a canned record of type {other}"),
    };
    Record::from_rdata(owner, expected.ttl.unwrap_or(60), data)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}
