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
mod inherit;
mod plugins;
mod restore;
mod transfer;

pub use chain::{Chain, Kubernetes};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::block::{Block, Place};
use crate::forward::Failure;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::name::Name;
use crate::options::Options;
use crate::wire::query::{Query, Unfit};
use crate::wire::writer::{Form, Transport, Writer, header_only};
use crate::wire::{Rcode, kind};
use crate::zone::{self, Outcome, Request, Resolved};

/// All blocks of a configuration with what they know.
#[derive(Debug)]
pub struct Engine {
    chains: Vec<Chain>,
    needs_peer: bool,
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
    /// The forwarder that is to be asked for a newer answer than this.
    pub refresh: Option<usize>,
    /// Why nobody else gave an answer.
    pub failure: Option<Failure>,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The server itself, for want of anybody.
    Server,
    /// The names of the cluster.
    Kubernetes,
    /// Names of the cluster for those outside.
    External,
    /// A template.
    Template,
    /// A file like `/etc/hosts`.
    Hosts,
    /// A zone from a file.
    File,
    /// The client's own address.
    Whoami,
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
    /// What is answered to this query, which the client's is looked up as.
    Whole(Box<[u8]>),
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
    /// Where it came to.
    pub place: Place,
    /// Who asks, where that is known.
    pub peer: Option<SocketAddr>,
    /// Whose query it is.
    pub stage: Stage,
    /// Which of several addresses comes first; any number.
    pub turn: usize,
    /// What became of [`Ask::Own`] or [`Ask::Whole`].
    pub resolved: Option<&'c Resolved>,
    /// Now.
    pub now: Instant,
}

/// Whose query it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// A client's.
    #[default]
    Client,
    /// The server's own, to complete an answer: it is neither barred nor searched for.
    Own,
    /// A client's, rewritten already.
    Rewritten,
}

impl<'c> Context<'c> {
    /// A client's query that nothing has been found out for yet.
    pub fn new(transport: Transport, place: impl Into<Place>, now: Instant) -> Self {
        Self {
            transport,
            place: place.into(),
            peer: None,
            stage: Stage::Client,
            turn: 0,
            resolved: None,
            now,
        }
    }
}

impl Engine {
    /// An engine for the blocks. Their `kubernetes` plugins know nothing yet.
    pub fn new(blocks: Vec<Block>) -> Self {
        let chains: Vec<Chain> = blocks.into_iter().map(Chain::new).collect();
        let needs_peer = chains.iter().any(|chain| !chain.plain);
        Self { chains, needs_peer }
    }

    /// The same, counting what it answers.
    pub fn counted(mut self, metrics: &Metrics) -> Self {
        metrics.upkeep.configured(self.chains.iter().map(|chain| &chain.block));
        for chain in &mut self.chains {
            let (server, zone) = chain.block.labels();
            chain.tally = Some(metrics.tally(&server, &zone));
            if let Some(cache) = chain.cache.as_mut().and_then(Arc::get_mut) {
                cache.count_at(metrics.cache(&server, &zone));
            }
            chain.forward.iter_mut().filter_map(Arc::get_mut).for_each(|forward| forward.count_at(metrics));
        }
        self
    }

    /// Whether answers may depend on who asks.
    pub fn needs_peer(&self) -> bool {
        self.needs_peer
    }

    /// The blocks at work.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// What a listener shows to clients that want to know who answers.
    pub(crate) fn tls(&self, place: Place) -> Option<Arc<rustls::ServerConfig>> {
        self.chains.iter().find(|chain| chain.block.place() == place)?.block.tls.clone()
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
                    refresh: None,
                    failure: None,
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
        match self.chain_of(&query.name, context.place) {
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
        Writer::begin(out, query, context.transport, Form::FULL).finish(query, rcode, false);
        Step::Reply(Reply::of(query, rcode.code(), chain, Source::Server))
    }

    /// The block with the longest zone that holds a name.
    fn chain_of(&self, name: &Name<'_>, place: Place) -> Option<usize> {
        let mut best = None;
        for (number, chain) in
            self.chains.iter().enumerate().filter(|(_, chain)| chain.block.place() == place)
        {
            for zone in chain.block.zones.iter().filter(|zone| name.is_within(zone)) {
                if best.is_none_or(|(labels, _)| zone.labels() > labels) {
                    best = Some((zone.labels(), number));
                }
            }
        }
        best.map(|(_, number)| number)
    }

    fn run(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Step {
        if !self.chains[number].plain {
            return self.run_plugins(number, query, context, out);
        }
        match self.kubernetes(number, query, context, out) {
            Some(step) => step,
            None => self.elsewhere(number, query, context, out),
        }
    }

    /// Answers for the names of the cluster.
    fn kubernetes(
        &self,
        number: usize,
        query: &Query<'_>,
        context: Context<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Step> {
        self.ask_index(number, query, context, out, Source::Kubernetes, |index, options, request, writer| {
            zone::answer(index, options, query, request, writer)
        })
    }

    /// Answers from what is known of the cluster.
    fn ask_index(
        &self,
        number: usize,
        query: &Query<'_>,
        context: Context<'_>,
        out: &mut Vec<u8>,
        source: Source,
        answer: impl FnOnce(&Index, &Options, Request<'_>, &mut Writer<'_>) -> Outcome,
    ) -> Option<Step> {
        let chain = &self.chains[number];
        let kubernetes = chain.kubernetes.as_ref()?;
        let turn = if chain.block.loadbalance { context.turn } else { 0 };
        let mut writer = Writer::begin(out, query, context.transport, chain.block.form());
        let index = kubernetes.index.load();
        let request = Request { turn, resolved: context.resolved };
        match answer(&index, &kubernetes.options, request, &mut writer) {
            Outcome::Answered(rcode) => {
                writer.finish(query, rcode, true);
                Some(Step::Reply(Reply::of(query, rcode.code(), Some(number), source)))
            }
            Outcome::Foreign(target) => Some(Step::Ask(Ask::Own(target))),
            Outcome::Next => None,
        }
    }

    /// Answers from the cache, or tells who is to be asked.
    fn elsewhere(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Step {
        let chain = &self.chains[number];
        if let Some(cache) = &chain.cache
            && let Some(hit) = cache.answer(query, context.transport, chain.block.form(), context.now, out)
        {
            let refresh = chain.forward_of(&query.name, 0).filter(|_| hit.refresh);
            let reply = Reply::of(query, hit.rcode, Some(number), Source::Cache);
            return Step::Reply(Reply { refresh, ..reply });
        }
        match chain.forward_of(&query.name, 0) {
            Some(forward) => Step::Ask(Ask::Upstream { chain: number, forward }),
            None => self.refuse(query, context, out, Rcode::ServFail, Some(number)),
        }
    }
}

impl Reply {
    /// What is to be counted about the answer to a query.
    pub fn of(query: &Query<'_>, rcode: u16, chain: Option<usize>, source: Source) -> Self {
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec);
        Self { rcode, kind: query.kind, chain, source, dnssec, refresh: None, failure: None }
    }
}
