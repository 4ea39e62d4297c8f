//! Answers from the zones of a cluster.

use std::net::IpAddr;

use super::lookup::{Found, PortLabels, find};
use super::{apex, service};
use crate::index::{Entry, Index, Records};
use crate::name::{Name, Zone};
use crate::options::Options;
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};

/// Links of a chain of aliases that are followed; a longer one is taken for a loop.
const LINKS_MAX: usize = 11;
/// Octets of a record before its data, where the owner is a pointer.
const RECORD_HEADER: usize = 12;
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL_S: u32 = 28_800;

/// What an answer depends on besides the query.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Which of several addresses comes first; any number.
    pub turn: usize,
    /// What became of the name that [`Outcome::Foreign`] asked for.
    pub resolved: Option<&'r Resolved>,
}

/// An answer from elsewhere, for a name that an alias leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// There is nobody to ask.
    Nobody,
    /// Nobody could tell.
    Failed,
    /// Records, or their absence.
    Records {
        /// The name that was asked for, as octets.
        target: Box<[u8]>,
        /// Whole records, without compression.
        answers: Vec<Box<[u8]>>,
        /// Whole records, without compression.
        authority: Vec<Box<[u8]>>,
        /// The answer was cut.
        truncated: bool,
    },
}

/// What came of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered.
    Answered(Rcode),
    /// The name is in none of the zones, or does not exist and may elsewhere.
    Next,
    /// An alias leads to this name outside of the zones: the query is to be repeated once it is
    /// resolved.
    Foreign(Box<[u8]>),
}

/// What a name had for the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yield {
    Data,
    NoData,
}

/// Where a name stands in the message and in its zone.
#[derive(Clone, Copy)]
pub(super) struct Owner<'n> {
    /// The name as a compression pointer.
    pub(super) pointer: u16,
    /// The zone's octets in the case of the name.
    pub(super) zone: &'n [u8],
    /// The zone as a compression pointer.
    pub(super) zone_pointer: u16,
}

/// Writes the answer to a query of class IN.
pub fn answer(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    request: Request<'_>,
    writer: &mut Writer<'_>,
) -> Outcome {
    let Some(zone) = zone_of(options, &query.name) else { return Outcome::Next };
    let own = Owner::of(&query.name, zone, QUESTION_NAME);
    match find(index, options, zone, &query.name) {
        Found::Missing => missing(index, options, query, own, writer),
        Found::Alias(entry) if matches!(query.kind, kind::CNAME | kind::ANY) => {
            let target = entry.alias.as_deref().unwrap_or_default();
            let owner = |out: &mut Vec<u8>| push_pointer(out, QUESTION_NAME);
            writer
                .add(Section::Answer, owner, kind::CNAME, options.ttl_s, |out| out.extend_from_slice(target));
            Outcome::Answered(Rcode::NoError)
        }
        Found::Alias(entry) => {
            let target = entry.alias.as_deref().unwrap_or_default();
            chase(index, options, query, request, (own, target), writer)
        }
        found => {
            let scribe = Scribe { index, options, turn: request.turn, kind: query.kind };
            if scribe.write(found, zone, own, writer) == Yield::NoData {
                apex::deny(index, options, own, writer);
            }
            Outcome::Answered(Rcode::NoError)
        }
    }
}

fn missing(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    own: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Outcome {
    if !index.synced {
        apex::deny(index, options, own, writer);
        return Outcome::Answered(Rcode::ServFail);
    }
    let elsewhere = |zones: &Vec<Zone>| zones.iter().any(|zone| query.name.is_within(zone));
    if options.fallthrough.as_ref().is_some_and(elsewhere) {
        return Outcome::Next;
    }
    apex::deny(index, options, own, writer);
    Outcome::Answered(Rcode::NxDomain)
}

/// Follows aliases from one zone name to the next, and on to what the last one leads to.
fn chase(
    index: &Index,
    options: &Options,
    query: &Query<'_>,
    request: Request<'_>,
    (own, mut target): (Owner<'_>, &[u8]),
    writer: &mut Writer<'_>,
) -> Outcome {
    if is_loop(index, options, target) {
        apex::deny(index, options, own, writer);
        return Outcome::Answered(Rcode::NoError);
    }
    let mut owner = QUESTION_NAME;
    loop {
        let Ok(name) = Name::read(target) else { return Outcome::Answered(Rcode::NoError) };
        let zone = zone_of(options, &name);
        let next = pointer(writer.position() + RECORD_HEADER);
        let stand = zone.map(|zone| Owner::of(&name, zone, next)).map(|stand| stand.sharing(own));
        let whole = writer.add(
            Section::Answer,
            |out| push_pointer(out, owner),
            kind::CNAME,
            options.ttl_s,
            |out| push_target(out, &name, stand, own),
        );
        owner = next;
        let (Some(zone), Some(stand)) = (zone, stand) else {
            return foreign(query, request.resolved, target, writer);
        };
        if !whole {
            return Outcome::Answered(Rcode::NoError);
        }
        match find(index, options, zone, &name) {
            Found::Alias(entry) => target = entry.alias.as_deref().unwrap_or_default(),
            Found::Missing if !index.synced => {
                writer.rewind(query);
                apex::deny(index, options, own, writer);
                return Outcome::Answered(Rcode::ServFail);
            }
            found => {
                let scribe = Scribe { index, options, turn: request.turn, kind: query.kind };
                if scribe.write(found, zone, stand, writer) == Yield::NoData {
                    apex::deny(index, options, own, writer);
                }
                return Outcome::Answered(Rcode::NoError);
            }
        }
    }
}

/// Whether more aliases follow one another than any that is meant has.
fn is_loop(index: &Index, options: &Options, first: &[u8]) -> bool {
    let mut target = first;
    for _ in 0..LINKS_MAX {
        let Ok(name) = Name::read(target) else { return false };
        let Some(zone) = zone_of(options, &name) else { return false };
        let Found::Alias(entry) = find(index, options, zone, &name) else { return false };
        target = entry.alias.as_deref().unwrap_or_default();
    }
    true
}

/// Appends what an alias leads to. Letters keep their case, so only a zone that is spelt as in the
/// question is left to a pointer.
fn push_target(out: &mut Vec<u8>, name: &Name<'_>, stand: Option<Owner<'_>>, own: Owner<'_>) {
    match stand.filter(|stand| stand.zone_pointer == own.zone_pointer) {
        Some(stand) => {
            out.extend_from_slice(&name.wire()[..name.wire().len() - stand.zone.len()]);
            push_pointer(out, own.zone_pointer);
        }
        None => out.extend_from_slice(name.wire()),
    }
}

fn foreign(
    query: &Query<'_>,
    resolved: Option<&Resolved>,
    wanted: &[u8],
    writer: &mut Writer<'_>,
) -> Outcome {
    match resolved {
        Some(Resolved::Records { target, answers, authority, truncated }) if **target == *wanted => {
            for (section, records) in [(Section::Answer, answers), (Section::Authority, authority)] {
                for record in records {
                    writer.add_raw(section, record);
                }
            }
            if *truncated {
                writer.truncate();
            }
            Outcome::Answered(Rcode::NoError)
        }
        Some(Resolved::Nobody) => Outcome::Answered(Rcode::NoError),
        Some(Resolved::Failed) => {
            writer.rewind(query);
            Outcome::Answered(Rcode::ServFail)
        }
        // Not asked yet, or the alias changed meanwhile.
        Some(Resolved::Records { .. }) | None => Outcome::Foreign(wanted.into()),
    }
}

/// The zone with the most labels that a name is within.
pub(super) fn zone_of<'o>(options: &'o Options, name: &Name<'_>) -> Option<&'o Zone> {
    let zones = options.zones.iter().filter(|zone| name.is_within(zone));
    zones.max_by_key(|zone| zone.labels())
}

/// Writes what a name has for a type.
pub(super) struct Scribe<'i> {
    pub(super) index: &'i Index,
    pub(super) options: &'i Options,
    pub(super) turn: usize,
    pub(super) kind: u16,
}

impl Scribe<'_> {
    fn write(&self, found: Found<'_, '_>, zone: &Zone, owner: Owner<'_>, writer: &mut Writer<'_>) -> Yield {
        match found {
            Found::Missing | Found::Empty | Found::Alias(_) => Yield::NoData,
            Found::Apex => self.apex(zone, owner, writer),
            Found::NameServer => self.name_server(owner, writer),
            Found::Version if self.kind == kind::TXT => {
                let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
                let text = |out: &mut Vec<u8>| out.extend_from_slice(VERSION);
                writer.add(Section::Answer, push_owner, kind::TXT, VERSION_TTL_S, text);
                Yield::Data
            }
            Found::Version => Yield::NoData,
            Found::Service(entry, labels) => match self.kind {
                kind::SRV => service::srv(self, entry, labels, owner, writer),
                _ => self.addresses(entry, labels, owner, writer),
            },
            Found::Endpoint(entry, label) => match self.kind {
                kind::SRV => service::endpoint_srv(self, entry, label, owner, writer),
                _ => service::endpoint_addresses(self, entry, label, owner, writer),
            },
            Found::Zonal(entry, zonal) => service::zonal(self, entry, zonal, owner, writer),
            Found::Pod(address) => {
                if self.wants(address) {
                    self.address(Section::Answer, |out| push_pointer(out, owner.pointer), address, writer);
                }
                Yield::of(self.wants(address))
            }
            Found::Address(address) => self.pointers(address, owner, writer),
        }
    }

    fn addresses(
        &self,
        entry: &Entry,
        labels: Option<PortLabels<'_>>,
        owner: Owner<'_>,
        writer: &mut Writer<'_>,
    ) -> Yield {
        if let (Some(labels), true) = (labels, entry.headless) {
            let addresses = service::addresses_with_port(entry, labels, self.options.ttl_s);
            return self.records(addresses.of_kind(self.kind), owner, writer);
        }
        self.records(entry.addresses.of_kind(self.kind), owner, writer)
    }

    /// Adds finished records.
    pub(super) fn records(
        &self,
        records: Option<&Records>,
        owner: Owner<'_>,
        writer: &mut Writer<'_>,
    ) -> Yield {
        let Some(records) = records.filter(|records| !records.is_empty()) else { return Yield::NoData };
        for record in records.from(self.turn) {
            if !writer.add_made(Section::Answer, owner.pointer, record) {
                break;
            }
        }
        Yield::Data
    }

    /// Whether an address is of the type asked for.
    pub(super) fn wants(&self, address: IpAddr) -> bool {
        self.kind == if address.is_ipv4() { kind::A } else { kind::AAAA }
    }

    /// Adds an address record.
    pub(super) fn address(
        &self,
        section: Section,
        owner: impl FnOnce(&mut Vec<u8>),
        address: IpAddr,
        writer: &mut Writer<'_>,
    ) -> bool {
        let kind = if address.is_ipv4() { kind::A } else { kind::AAAA };
        writer.add(section, owner, kind, self.options.ttl_s, |out| match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        })
    }
}

impl Yield {
    /// `Data` if there is some.
    pub(super) fn of(some: bool) -> Self {
        if some { Self::Data } else { Self::NoData }
    }
}

impl<'n> Owner<'n> {
    fn of(name: &Name<'n>, zone: &Zone, pointer: u16) -> Self {
        let start = name.start(name.labels() - zone.labels());
        let zone_pointer = pointer + u16::try_from(start).unwrap_or_default();
        Self { pointer, zone: &name.wire()[start..], zone_pointer }
    }

    /// The same, with the zone of another where it is spelt alike.
    fn sharing(self, other: Owner<'n>) -> Self {
        if self.zone == other.zone { Self { zone_pointer: other.zone_pointer, ..self } } else { self }
    }
}

/// A position in the message as a compression pointer; positions of owners are within the first
/// few kilobytes, since a chain has few links.
pub(super) fn pointer(position: usize) -> u16 {
    0xc000 | u16::try_from(position & 0x3fff).unwrap_or_default()
}

/// Appends a compression pointer.
pub(super) fn push_pointer(out: &mut Vec<u8>, pointer: u16) {
    out.extend_from_slice(&pointer.to_be_bytes());
}
