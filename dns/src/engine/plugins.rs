//! Blocks with plugins beside the usual ones, in the order in which CoreDNS goes through them.
//!
//! ```text
//! acl ─ rewrite ─ autopath ─ template ─ hosts ─ k8s_external ─ kubernetes ─ file ─ cache ─ forward ─ whoami
//! ```

use std::net::IpAddr;

use super::restore::{restore, search_answer};
use super::{Ask, Chain, Context, Engine, Reply, Source, Stage, Step};
use crate::plugin::acl::Verdict;
use crate::plugin::rewrite::{Rewritten, rewrite};
use crate::wire::query::Query;
use crate::wire::writer::{Section, Transport, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};
use crate::zone::{self, Outcome, Resolved};

impl Engine {
    /// Goes through all plugins of a block.
    pub(super) fn run_plugins(
        &self,
        number: usize,
        query: &Query<'_>,
        context: Context<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let chain = &self.chains[number];
        if context.stage == Stage::Client
            && let Some(step) = self.bar(number, query, context, out)
        {
            return step;
        }
        let rules = if context.stage == Stage::Rewritten { &[][..] } else { &chain.block.rewrite };
        match rewrite(rules, &query.name, query.kind) {
            Some(rewritten) => self.run_rewritten(number, query, &rewritten, context, out),
            None => self.search(number, query, context, out),
        }
    }

    /// What `acl` says against a query.
    fn bar(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Option<Step> {
        let from = context.peer.map(|peer| peer.ip());
        let verdicts =
            self.chains[number].block.acl.iter().map(|acl| acl.verdict(&query.name, query.kind, from));
        match verdicts.into_iter().find(|verdict| *verdict != Verdict::Allow)? {
            Verdict::Allow => None,
            Verdict::Drop => Some(Step::Silence),
            Verdict::Block => Some(self.refuse(query, context, out, Rcode::Refused, Some(number))),
            Verdict::Filter => Some(self.refuse(query, context, out, Rcode::NoError, Some(number))),
        }
    }

    /// Looks a query up as another, and gives the answer the name that was asked for.
    fn run_rewritten(
        &self,
        number: usize,
        query: &Query<'_>,
        rewritten: &Rewritten,
        context: Context<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let asked = query.as_question(&rewritten.name, rewritten.kind);
        if let Some(Resolved::Whole { question, answer }) = context.resolved
            && **question == *asked
        {
            let form = self.chains[number].block.form();
            let rcode = restore(query, answer, &rewritten.back, context.transport, form, out);
            return Step::Reply(Reply::of(query, rcode, Some(number), Source::Server));
        }
        // Changing names back may make the answer longer than the client takes: it is cut then.
        let inner = Context { transport: Transport::Tcp, resolved: None, ..context };
        let Ok(other) = Query::read(&asked) else {
            return self.refuse(query, context, out, Rcode::ServFail, Some(number));
        };
        let mut answer = Vec::new();
        match self.search(number, &other, inner, &mut answer) {
            Step::Reply(reply) => {
                let form = self.chains[number].block.form();
                let rcode = restore(query, &answer, &rewritten.back, context.transport, form, out);
                Step::Reply(Reply { rcode, kind: query.kind, refresh: None, ..reply })
            }
            Step::Silence => Step::Silence,
            Step::Ask(_) => Step::Ask(Ask::Whole(asked.into())),
        }
    }

    /// Does the search of a client's resolver for it.
    fn search(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Step {
        let chain = &self.chains[number];
        let Some(names) = self.search_names(chain, query, context) else {
            return self.sources(number, query, context, out);
        };
        let form = chain.block.form();
        let mut first = None;
        let known = match context.resolved {
            Some(Resolved::Records { target, .. }) => names.iter().position(|name| *name == *target),
            _ => None,
        };
        for (place, name) in names.iter().enumerate() {
            let mut answer = Vec::new();
            let asked = query.as_question(name, query.kind);
            let Ok(other) = Query::read(&asked) else { continue };
            let step = self.sources(number, &other, Context { resolved: None, ..context }, &mut answer);
            match step {
                Step::Reply(reply) if reply.rcode == Rcode::NxDomain.code() => {
                    first.get_or_insert((answer, reply));
                }
                // Nobody else knows names: the search ends here.
                Step::Reply(reply) if reply.source == Source::Server && first.is_some() => break,
                Step::Reply(reply) => {
                    let rcode = search_answer(query, &answer, context.transport, form, out);
                    chain.searched();
                    return Step::Reply(Reply { rcode, refresh: None, ..reply });
                }
                Step::Silence => return Step::Silence,
                // What was asked for after this one did not exist, or it would not have been asked.
                Step::Ask(_) if known.is_some_and(|known| known > place) => {}
                Step::Ask(_) if known == Some(place) => match context.resolved {
                    Some(Resolved::Records { rcode, raw, .. }) if *rcode == Rcode::NxDomain.code() => {
                        if place == 0 {
                            let reply = Reply::of(query, *rcode, Some(number), Source::Forward);
                            first = Some((raw.to_vec(), reply));
                        }
                    }
                    Some(Resolved::Records { raw, .. }) => {
                        let rcode = search_answer(query, raw, context.transport, form, out);
                        chain.searched();
                        return Step::Reply(Reply::of(query, rcode, Some(number), Source::Forward));
                    }
                    _ => return self.refuse(query, context, out, Rcode::ServFail, Some(number)),
                },
                Step::Ask(_) => match context.resolved {
                    Some(Resolved::Failed) => {
                        return self.refuse(query, context, out, Rcode::ServFail, Some(number));
                    }
                    Some(Resolved::Nobody) => break,
                    _ => return Step::Ask(Ask::Own(name.clone())),
                },
            }
        }
        match first {
            Some((answer, reply)) => {
                search_answer(query, &answer, context.transport, form, out);
                Step::Reply(reply)
            }
            None => self.refuse(query, context, out, Rcode::ServFail, Some(number)),
        }
    }

    fn search_names(&self, chain: &Chain, query: &Query<'_>, context: Context<'_>) -> Option<Vec<Box<[u8]>>> {
        let autopath = chain.block.autopath.as_ref().filter(|_| context.stage != Stage::Own)?;
        let client = context.peer?.ip();
        let index = chain.kubernetes.as_ref().map(|kubernetes| kubernetes.index.load());
        let options = chain.kubernetes.as_ref().map(|kubernetes| &kubernetes.options);
        let zone = options.and_then(|options| zone::zone_of(options, &query.name));
        autopath.names(&query.name, client, index.as_deref().map(|index| &**index), zone)
    }

    /// Asks whoever may know a name, one after the other.
    fn sources(&self, number: usize, query: &Query<'_>, context: Context<'_>, out: &mut Vec<u8>) -> Step {
        let chain = &self.chains[number];
        let block = &chain.block;
        let reply = |rcode: u16, source| Step::Reply(Reply::of(query, rcode, Some(number), source));
        let (transport, form) = (context.transport, block.form());
        for template in &block.template {
            let mut writer = Writer::begin(out, query, transport, form);
            if let Outcome::Answered(rcode) = template.answer(query, &mut writer) {
                writer.finish(query, rcode, true);
                return reply(rcode.code(), Source::Template);
            }
        }
        if let Some(hosts) = &block.hosts {
            let mut writer = Writer::begin(out, query, transport, form);
            if let Outcome::Answered(rcode) = hosts.answer(query, &mut writer) {
                // Without an SOA, a name that is not there can only fail, and nobody vouches for a failure.
                writer.finish(query, rcode, rcode != Rcode::ServFail);
                return reply(rcode.code(), Source::Hosts);
            }
        }
        let external = block.external.as_ref().and_then(|external| {
            let source = Source::External;
            self.ask_index(number, query, context, out, source, |index, options, request, writer| {
                zone::external(index, options, external, query, request, writer)
            })
        });
        if let Some(step) = external {
            return step;
        }
        if let Some(step) = self.kubernetes(number, query, context, out) {
            return step;
        }
        let files = block.files.iter().filter(|file| query.name.is_within(&file.origin));
        if let Some(file) = files.max_by_key(|file| file.origin.labels()) {
            let mut writer = Writer::begin(out, query, transport, form);
            match file.answer(query, context.resolved, &mut writer) {
                (Outcome::Answered(rcode), authoritative) => {
                    writer.finish(query, rcode, authoritative);
                    return reply(rcode.code(), Source::File);
                }
                (Outcome::Foreign(target), _) => return Step::Ask(Ask::Own(target)),
                (Outcome::Next, _) => {}
            }
        }
        if block.whoami && block.forward.is_empty() {
            let mut writer = Writer::begin(out, query, transport, form);
            tell_who(query, context, &mut writer);
            writer.finish(query, Rcode::NoError, true);
            return reply(0, Source::Whoami);
        }
        self.elsewhere(number, query, context, out)
    }
}

/// Where a query comes from, as records: its address, and its port and transport.
fn tell_who(query: &Query<'_>, context: Context<'_>, writer: &mut Writer<'_>) {
    let Some(peer) = context.peer else { return };
    let owner = |out: &mut Vec<u8>| out.extend_from_slice(&QUESTION_NAME.to_be_bytes());
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => writer.add(Section::Additional, owner, kind::A, 0, |out| {
            out.extend_from_slice(&address.octets());
        }),
        IpAddr::V6(address) => writer.add(Section::Additional, owner, kind::AAAA, 0, |out| {
            out.extend_from_slice(&address.octets());
        }),
    };
    let transport: &[u8] = if context.transport == Transport::Udp { b"\x04_udp" } else { b"\x04_tcp" };
    let name = query.name.wire();
    if name.len() + transport.len() <= crate::name::NAME_MAX {
        let owner = |out: &mut Vec<u8>| out.extend_from_slice(&[transport, name].concat());
        writer.add(Section::Additional, owner, kind::SRV, 0, |out| {
            for number in [0, 0, peer.port()] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.push(0);
        });
    }
}
