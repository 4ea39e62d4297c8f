//! One configuration at work: a query in, an answer out, or the name of whom to ask.
//!
//! ```text
//! octets ─ Query::read ─ block of the longest zone ─┬─ kubernetes
//!                                                   ├─ cache
//!                                                   └─ forward ──▶ Step::Ask
//! ```
//!
//! A step never waits. What needs somebody else ends it with [`Step::Ask`], and the caller comes
//! back with what was found out.

mod chain;

pub use chain::{Chain, Kubernetes};

use std::time::Instant;

use crate::block::Block;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::wire::query::{Query, Unfit};
use crate::wire::writer::{Transport, Writer, header_only};
use crate::wire::{Rcode, kind};
use crate::zone::{self, Outcome, Request, Resolved};

/// All blocks of a configuration with what they know.
#[derive(Debug)]
pub struct Engine {
    chains: Vec<Chain>,
}

/// What came of a message.
#[derive(Debug)]
pub enum Step {
    /// The answer is written.
    Reply(Reply),
    /// It is not answered.
    Silence,
    /// Somebody else has to be asked first.
    Ask(Ask),
}

/// Facts about an answer, to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The response code.
    pub rcode: u16,
    /// The type asked for; 0 where there was no question.
    pub kind: u16,
    /// The chain that answered; `None` where none was entered.
    pub chain: Option<usize>,
    /// Who answered.
    pub source: Source,
    /// Whether DNSSEC records were asked for.
    pub dnssec: bool,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The server itself, for want of anybody.
    Server,
    /// The names of the cluster.
    Kubernetes,
    /// A kept answer.
    Cache,
    /// Somebody else.
    Forward,
}

/// What to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What the server itself answers for this name, to complete an alias.
    Own(Box<[u8]>),
    /// What this forwarder of this chain's answers to the query.
    Upstream {
        /// The chain.
        chain: usize,
        /// The forwarder in it.
        forward: usize,
    },
}

/// What a step depends on besides the message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// How the message came.
    pub transport: Transport,
    /// The port it came to.
    pub port: u16,
    /// Which of several addresses comes first; any number.
    pub turn: usize,
    /// What became of [`Ask::Own`].
    pub resolved: Option<&'c Resolved>,
    /// Now.
    pub now: Instant,
}

impl Engine {
    /// An engine for the blocks. Their `kubernetes` plugins know nothing yet.
    pub fn new(blocks: Vec<Block>) -> Self {
        Self { chains: blocks.into_iter().map(Chain::new).collect() }
    }

    /// The same, counting what it answers.
    pub fn counted(mut self, metrics: &Metrics) -> Self {
        for chain in &mut self.chains {
            let server = format!("dns://:{}", chain.block.port);
            let zone = chain.block.zones.first().map(ToString::to_string).unwrap_or_default();
            chain.tally = Some(metrics.tally(&server, &zone));
        }
        self
    }

    /// The blocks at work.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// Handles a message; the answer, if there is one, is in `out`.
    pub fn step(&self, message: &[u8], context: Context<'_>, out: &mut Vec<u8>) -> Step {
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Unfit::Silence) => return Step::Silence,
            Err(Unfit::Header(rcode)) => {
                header_only(out, message, rcode);
                return Step::Reply(Reply {
                    rcode: rcode.code(),
                    kind: 0,
                    chain: None,
                    source: Source::Server,
                    dnssec: false,
                });
            }
            Err(Unfit::Question(query, rcode)) => return self.refuse(&query, context, out, rcode, None),
        };
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return self.refuse(&query, context, out, Rcode::BadVers, None);
        }
        if query.class != kind::IN || matches!(query.kind, kind::AXFR | kind::IXFR) {
            return self.refuse(&query, context, out, Rcode::Refused, None);
        }
        match self.chain_of(&query.name, context.port) {
            Some(chain) => self.run(chain, &query, context, out),
            None => self.refuse(&query, context, out, Rcode::Refused, None),
        }
    }

    /// Writes an answer without records.
    pub fn refuse(
        &self,
        query: &Query<'_>,
        context: Context<'_>,
        out: &mut Vec<u8>,
        rcode: Rcode,
        chain: Option<usize>,
    ) -> Step {
        Writer::begin(out, query, context.transport, u16::MAX).finish(query, rcode, false);
        Step::Reply(Reply::of(query, rcode.code(), chain, Source::Server))
    }

    /// The block with the longest zone that holds a name.
    fn chain_of(&self, name: &Name<'_>, port: u16) -> Option<usize> {
        let mut best = None;
        for (number, chain) in self.chains.iter().enumerate().filter(|(_, chain)| chain.block.port == port) {
            for zone in chain.block.zones.iter().filter(|zone| name.is_within(zone)) {
                if best.is_none_or(|(labels, _)| zone.labels() > labels) {
                    best = Some((zone.labels(), number));
                }
            }
        }
        best.map(|(_, number)| number)
    }

    fn run(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Step {
        let chain = &self.chains[number];
        let turn = if chain.block.loadbalance { context.turn } else { 0 };
        let reply = |rcode, source| Step::Reply(Reply::of(query, rcode, Some(number), source));
        if let Some(kubernetes) = &chain.kubernetes {
            let mut writer = Writer::begin(out, query, context.transport, chain.block.bufsize);
            let index = kubernetes.index.load();
            let request = Request { turn, resolved: context.resolved };
            match zone::answer(&index, &kubernetes.options, query, request, &mut writer) {
                Outcome::Answered(rcode) => {
                    writer.finish(query, rcode, true);
                    return reply(rcode.code(), Source::Kubernetes);
                }
                Outcome::Foreign(target) => return Step::Ask(Ask::Own(target)),
                Outcome::Next => {}
            }
        }
        if let Some(cache) = &chain.cache
            && let Some(rcode) = cache.answer(query, context.transport, chain.block.bufsize, context.now, out)
        {
            return reply(rcode, Source::Cache);
        }
        match chain.forward.iter().position(|forward| forward.takes(&query.name)) {
            Some(forward) => Step::Ask(Ask::Upstream { chain: number, forward }),
            None => self.refuse(query, context, out, Rcode::ServFail, Some(number)),
        }
    }
}

impl Reply {
    /// What is to be counted about the answer to a query.
    pub fn of(query: &Query<'_>, rcode: u16, chain: Option<usize>, source: Source) -> Self {
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec);
        Self { rcode, kind: query.kind, chain, source, dnssec }
    }
}
