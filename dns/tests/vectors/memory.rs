//! The server without sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, rdata};
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Ask, Context, Engine, Stage, Step};
use seaway_dns::feed::Feed;
use seaway_dns::name::Zone;
use seaway_dns::plugin::autopath::{Autopath, Source};
use seaway_dns::wire::query::Query;
use seaway_dns::wire::relay::{Age, Relayed};
use seaway_dns::wire::writer::{Form, Transport};
use seaway_dns::zone::Resolved;

use super::suite::{Config, Expected, Suite, Upstream};
use crate::Server;

const PORT: u16 = 53;
const ROUNDS_MAX: usize = 8;

pub(crate) struct Memory {
    engine: Engine,
    upstream: Option<Upstream>,
    /// Who asks where the case does not say.
    client: IpAddr,
}

impl Memory {
    /// A server set up as a suite says.
    pub(crate) fn new(suite: &Suite) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let upstream = suite.config.upstream.as_ref().map(|_| "127.0.0.1:1".parse().unwrap());
        let text = suite.config.corefile(PORT, upstream, dir.path());
        let mut blocks = corefile::parse(&text, dir.path()).map_err(|error| error.to_string())?;
        localize(&mut blocks, &suite.config);
        let engine = Engine::new(blocks);
        if suite.config.synced != Some(false) {
            let mut feed = Feed::new(&engine);
            for state in suite.states() {
                feed.update(&engine, &Arc::new(Snapshot::from_manifests(&state).0), 1);
            }
        }
        let to = suite.config.transfer_to().unwrap_or_default();
        let client = to.iter().find_map(|to| to.parse().ok()).unwrap_or([127, 0, 0, 1].into());
        Ok(Self { engine, upstream: suite.config.upstream.clone(), client })
    }

    /// What the server itself answers, followed as far as a running one does.
    fn answer(&self, query: &[u8], asked: Asked, depth: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut resolved = None;
        for _ in 0..ROUNDS_MAX {
            let context = Context {
                peer: Some(asked.peer),
                stage: asked.stage,
                resolved: resolved.as_ref(),
                ..Context::new(asked.transport, PORT, Instant::now())
            };
            match self.engine.step(query, context, &mut out) {
                Step::Reply(_) => return Some(out),
                Step::Silence => return None,
                Step::Ask(Ask::Own(target)) if depth > 0 => {
                    resolved =
                        Some(self.resolve(&target, Query::read(query).unwrap().kind, asked, depth - 1));
                }
                Step::Ask(Ask::Whole(question)) if depth > 0 => {
                    let asked = Asked { stage: Stage::Rewritten, ..asked };
                    let answer = self.answer(&question, asked, depth - 1)?;
                    resolved = Some(Resolved::Whole { question, answer: answer.into() });
                }
                Step::Ask(Ask::Upstream { .. }) => {
                    let message = canned(self.upstream.as_ref()?, query)?.to_vec().unwrap();
                    let parsed = Query::read(query).unwrap();
                    let age = Age::New(0, u32::MAX);
                    let relayed = Relayed::read(&message, query).unwrap();
                    relayed.write(&parsed, asked.transport, Form::FULL, age, &mut out);
                    return Some(out);
                }
                Step::Ask(_) => return None,
            }
        }
        None
    }

    fn resolve(&self, target: &[u8], kind: u16, asked: Asked, depth: usize) -> Resolved {
        let query =
            [&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], target, &kind.to_be_bytes(), &[0, 1]].concat();
        let asked = Asked { stage: Stage::Own, transport: Transport::Tcp, ..asked };
        let failing = matches!(self.upstream, Some(Upstream::Failing(_)));
        let Some(raw) = self.answer(&query, asked, depth) else { return Resolved::Failed };
        let message = Message::from_vec(&raw).unwrap();
        let rcode = u16::from(message.metadata.response_code);
        if !matches!(rcode, 0 | 3) {
            return if failing { Resolved::Failed } else { Resolved::Nobody };
        }
        let records = |records: &[Record]| {
            records.iter().map(|record| seaway_dns::record::octets(record).unwrap().into()).collect()
        };
        Resolved::Records {
            target: target.into(),
            answers: records(&message.answers),
            authority: records(&message.authorities),
            rcode,
            truncated: message.metadata.truncation,
            raw: raw.into(),
        }
    }
}

/// How a query is asked.
#[derive(Clone, Copy)]
struct Asked {
    transport: Transport,
    peer: SocketAddr,
    stage: Stage,
}

impl Server for Memory {
    fn ask(&mut self, query: &[u8], tcp: Option<bool>, client: Option<IpAddr>) -> Vec<Vec<u8>> {
        let transport = if tcp == Some(true) { Transport::Tcp } else { Transport::Udp };
        let peer = SocketAddr::new(client.unwrap_or(self.client), 40_000);
        if let Some(messages) = self.engine.transfer(query, PORT, peer) {
            return messages;
        }
        let asked = Asked { transport, peer, stage: Stage::Client };
        self.answer(query, asked, ROUNDS_MAX).into_iter().collect()
    }
}

/// Gives the addresses that a server would find on its interfaces.
pub(crate) fn localize(blocks: &mut [seaway_dns::block::Block], config: &Config) {
    for block in blocks {
        block.reached_at(&config.local_ips);
        let given = config.external.as_ref().map(|external| &external.ns_addresses);
        if let (Some(external), Some(addresses)) = (&mut block.external, given)
            && !addresses.is_empty()
        {
            external.addresses.clone_from(addresses);
        }
        // The search list of the server's own machine is no part of a suite.
        if let Some(Autopath { source: Source::Pods(own), .. }) = &mut block.autopath {
            let zones: Vec<Zone> =
                config.zone_names().iter().filter_map(|zone| Zone::parse(zone).ok()).collect();
            let names = config.client_search.iter().filter_map(|name| seaway_dns::name::parse(name).ok());
            *own = names
                .filter(|name| {
                    let name = seaway_dns::name::Name::read(name).unwrap();
                    name.labels() > 0 && !zones.iter().any(|zone| name.is_within(zone))
                })
                .collect();
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
