//! What a name has for a type, written as records.

use std::net::IpAddr;

use super::lookup::{Found, PortLabels};
use super::service;
use crate::index::{Entry, Index, Records};
use crate::name::{Name, Zone};
use crate::options::Options;
use crate::wire::kind;
use crate::wire::writer::{Section, Writer};

const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL_S: u32 = 28_800;

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

/// Writes what a name has for a type.
pub(super) struct Scribe<'i> {
    pub(super) index: &'i Index,
    pub(super) options: &'i Options,
    pub(super) turn: usize,
    pub(super) kind: u16,
    /// How long the records live that are made here, in seconds.
    pub(super) ttl_s: u32,
    /// Names of Services have no label `svc`.
    pub(super) outside: bool,
}

impl<'i> Scribe<'i> {
    /// What a query of a type has in the cluster's own zones.
    pub(super) fn new(index: &'i Index, options: &'i Options, turn: usize, kind: u16) -> Self {
        Self { index, options, turn, kind, ttl_s: options.ttl_s, outside: false }
    }

    /// The labels of a Service's name left of the zone, in the object's case.
    pub(super) fn stem<'e>(&self, entry: &'e Entry) -> &'e [u8] {
        if self.outside { entry.key() } else { entry.stem() }
    }

    /// Writes all of it.
    pub(super) fn write(
        &self,
        found: Found<'_, '_>,
        zone: &Zone,
        owner: Owner<'_>,
        writer: &mut Writer<'_>,
    ) -> Yield {
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
            Found::Endpoint(entry, host) => match self.kind {
                kind::SRV => service::endpoint_srv(self, entry, host, owner, writer),
                _ => service::endpoint_addresses(self, entry, host, owner, writer),
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
            let addresses = service::addresses_with_port(entry, labels, self.ttl_s);
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
        writer.add(section, owner, kind, self.ttl_s, |out| match address {
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
    /// A name of a zone, at a place in the message.
    pub(super) fn of(name: &Name<'n>, zone: &Zone, pointer: u16) -> Self {
        let start = name.start(name.labels() - zone.labels());
        let zone_pointer = pointer + u16::try_from(start).unwrap_or_default();
        Self { pointer, zone: &name.wire()[start..], zone_pointer }
    }

    /// The same, with the zone of another where it is spelt alike.
    pub(super) fn sharing(self, other: Owner<'n>) -> Self {
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
