//! Lookups in a zone from a file (RFC 1034 section 4.3.2, RFC 4592).

use super::{ZoneFile, key};
use crate::name::Name;
use crate::plugin::hosts::falls_through;
use crate::record::Record;
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};
use crate::zone::{Outcome, Resolved};

/// Aliases of one zone that are followed.
const LINKS_MAX: usize = 8;

/// What a name has.
enum Found<'z> {
    /// Records, possibly of a wildcard.
    Node(&'z [Record]),
    /// Nothing, but something below it.
    Empty,
    /// Another server's part begins at or above it.
    Delegated(&'z [Record]),
    Missing,
}

impl ZoneFile {
    /// Writes the answer to a query. The second value tells whether it has authority.
    pub fn answer(
        &self,
        query: &Query<'_>,
        resolved: Option<&Resolved>,
        writer: &mut Writer<'_>,
    ) -> (Outcome, bool) {
        if !query.name.is_within(&self.origin) {
            return (Outcome::Next, false);
        }
        let mut target: Option<&[u8]> = None;
        for _ in 0..LINKS_MAX {
            let read = target.map(Name::read);
            let name = match &read {
                None => &query.name,
                Some(Ok(name)) => name,
                Some(Err(_)) => break,
            };
            let owner = Owner(target);
            match self.find(name) {
                Found::Missing if target.is_none() => return self.missing(query, writer),
                Found::Missing | Found::Empty => {
                    self.deny(writer);
                    return (Outcome::Answered(Rcode::NoError), true);
                }
                Found::Delegated(servers) => {
                    let servers = servers.iter().filter(|record| record.kind == kind::NS);
                    let servers: Vec<&Record> = servers.collect();
                    servers.iter().for_each(|record| {
                        push(writer, Section::Authority, record, Owner(Some(&record.owner)));
                    });
                    self.glue(&servers, writer);
                    return (Outcome::Answered(Rcode::NoError), target.is_some());
                }
                Found::Node(records) => {
                    let alias = records.iter().find(|record| record.kind == kind::CNAME);
                    if let Some(alias) = alias.filter(|_| !matches!(query.kind, kind::CNAME | kind::ANY)) {
                        push(writer, Section::Answer, alias, owner);
                        let inside = Name::read(&alias.data).is_ok_and(|name| name.is_within(&self.origin));
                        if inside {
                            target = Some(&alias.data);
                            continue;
                        }
                        return (crate::zone::complete(query, resolved, &alias.data, true, writer), true);
                    }
                    self.records(records, query.kind, owner, writer);
                    return (Outcome::Answered(Rcode::NoError), true);
                }
            }
        }
        (Outcome::Answered(Rcode::NoError), true)
    }

    fn records(&self, records: &[Record], wanted: u16, owner: Owner<'_>, writer: &mut Writer<'_>) {
        let fits = |record: &&Record| record.kind == wanted || wanted == kind::ANY;
        let fitting: Vec<&Record> = records.iter().filter(fits).collect();
        if fitting.is_empty() {
            return self.deny(writer);
        }
        fitting.iter().for_each(|record| push(writer, Section::Answer, record, owner));
        // As CoreDNS does: who has the zone. `minimal` leaves it out.
        let apex = self.nodes.get(&key_of(self.origin.wire())).map_or(&[][..], Vec::as_slice);
        let at_apex = std::ptr::eq(apex, records);
        let servers =
            apex.iter().filter(|record| record.kind == kind::NS && !(at_apex && wanted == kind::NS));
        let servers: Vec<&Record> = servers.collect();
        servers
            .iter()
            .for_each(|record| push(writer, Section::Authority, record, Owner(Some(&record.owner))));
        self.glue(&fitting, writer);
    }

    fn missing(&self, query: &Query<'_>, writer: &mut Writer<'_>) -> (Outcome, bool) {
        if falls_through(self.fallthrough.as_deref(), &query.name) {
            return (Outcome::Next, false);
        }
        self.deny(writer);
        (Outcome::Answered(Rcode::NxDomain), true)
    }

    fn deny(&self, writer: &mut Writer<'_>) {
        push(writer, Section::Authority, &self.soa, Owner(Some(&self.soa.owner)));
    }

    /// Adds addresses of the names that records lead to.
    fn glue(&self, records: &[&Record], writer: &mut Writer<'_>) {
        for target in records.iter().filter_map(|record| record.target()) {
            let Some(nodes) = self.nodes.get(&key_of(target)) else { continue };
            for record in nodes.iter().filter(|record| matches!(record.kind, kind::A | kind::AAAA)) {
                push(writer, Section::Additional, record, Owner(Some(target)));
            }
        }
    }

    fn find(&self, name: &Name<'_>) -> Found<'_> {
        let below = name.labels() - self.origin.labels();
        let delegates = |node: &&Vec<Record>| node.iter().any(|record| record.kind == kind::NS);
        for skip in (0..below).rev() {
            if let Some(node) = self.nodes.get(&key(name, skip)).filter(delegates) {
                return Found::Delegated(node);
            }
        }
        for skip in 0..=below {
            let place = key(name, skip);
            let node = self.nodes.get(&place);
            let exists = node.is_some()
                || self.nodes.range(place.clone()..).next().is_some_and(|(key, _)| key.starts_with(&place));
            match (skip, node) {
                (0, Some(node)) => return Found::Node(node),
                (0, None) if exists => return Found::Empty,
                // The closest name that exists: only its wildcard counts.
                _ if exists => {
                    let wildcard = [&place, b"\x01*".as_slice()].concat();
                    return self
                        .nodes
                        .get(wildcard.as_slice())
                        .map_or(Found::Missing, |node| Found::Node(node));
                }
                _ => {}
            }
        }
        Found::Missing
    }
}

/// The name that a record is given: the question's, or this one.
#[derive(Clone, Copy)]
struct Owner<'n>(Option<&'n [u8]>);

fn push(writer: &mut Writer<'_>, section: Section, record: &Record, owner: Owner<'_>) {
    let owner = |out: &mut Vec<u8>| match owner.0 {
        None => out.extend_from_slice(&QUESTION_NAME.to_be_bytes()),
        Some(name) => out.extend_from_slice(name),
    };
    writer.add(section, owner, record.kind, record.ttl_s, |out| out.extend_from_slice(&record.data));
}

fn key_of(wire: &[u8]) -> Box<[u8]> {
    Name::read(wire).map(|name| key(&name, 0)).unwrap_or_default()
}
