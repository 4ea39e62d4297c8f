//! Names for those outside of the cluster: `SVC.NS` without `svc`, and the addresses of load
//! balancers behind them.

use std::net::IpAddr;

use super::address_name::{self, Place};
use super::answer::{Outcome, Request};
use super::apex::soa_numbers;
use super::chase::complete;
use super::lookup::{Found, PortLabels, endpoint, port, protocol};
use super::scribe::{Owner, Scribe, Yield, pointer, push_pointer};
use super::service;
use crate::index::{Addresses, Entry, Index, Outside, Port, Records};
use crate::name::{Name, Zone};
use crate::options::Options;
use crate::plugin::external::External;
use crate::plugin::hosts::falls_through;
use crate::wire::query::Query;
use crate::wire::writer::{Section, Writer};
use crate::wire::{QUESTION_NAME, Rcode, kind};

/// Writes the answer to a query of class IN.
pub(crate) fn answer(
    index: &Index,
    options: &Options,
    external: &External,
    query: &Query<'_>,
    request: Request<'_>,
    writer: &mut Writer<'_>,
) -> Outcome {
    let zones = external.zones.iter().filter(|zone| query.name.is_within(zone));
    let Some(zone) = zones.max_by_key(|zone| zone.labels()) else { return Outcome::Next };
    let owner = Owner::of(&query.name, zone, QUESTION_NAME);
    let ttl_s = external.ttl_s;
    let scribe = Scribe { ttl_s, outside: true, ..Scribe::new(index, options, request.turn, query.kind) };
    let part = Part { scribe, external, owner };
    let found = find(index, external, zone, &query.name);
    if let Found::Service(entry, None) = found
        && let Some(host) = alias(entry)
        && query.kind != kind::SRV
    {
        let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
        writer.add(Section::Answer, push_owner, kind::CNAME, ttl_s, |out| out.extend_from_slice(host));
        return match query.kind {
            kind::CNAME | kind::ANY => Outcome::Answered(Rcode::NoError),
            _ => complete(query, request.resolved, host, true, writer),
        };
    }
    match found {
        Found::Missing if index.synced && falls_through(external.fallthrough.as_deref(), &query.name) => {
            return Outcome::Next;
        }
        Found::Missing => {
            part.soa(Section::Authority, writer);
            return Outcome::Answered(if index.synced { Rcode::NxDomain } else { Rcode::ServFail });
        }
        found => {
            if part.write(found, writer) == Yield::NoData {
                part.soa(Section::Authority, writer);
            }
        }
    }
    Outcome::Answered(Rcode::NoError)
}

/// The name that a Service's load balancer has, where it has no address.
fn alias(entry: &Entry) -> Option<&[u8]> {
    let outside = entry.outside.as_ref().filter(|outside| outside.addresses.is_empty())?;
    outside.hosts.first().map(|host| &**host)
}

fn find<'i, 'q>(index: &'i Index, external: &External, zone: &Zone, name: &'q Name<'q>) -> Found<'i, 'q> {
    let depth = name.labels() - zone.labels();
    if depth == 0 {
        return Found::Apex;
    }
    if name.folded(depth - 1, depth) == &*external.apex {
        return match depth {
            1 => Found::Empty,
            2 if name.label(0) == b"ns1" => Found::NameServer,
            _ => Found::Missing,
        };
    }
    if zone.is_reverse() {
        return match address_name::place(name) {
            Some(Place::Address(address)) if index.owners_outside(address).any(|entry| entry.visible) => {
                Found::Address(address)
            }
            Some(Place::Part(low, high)) if index.has_owner_outside_within(low, high) => Found::Empty,
            _ => Found::Missing,
        };
    }
    if depth == 1 {
        return if index.has_namespace(name.label(0)) { Found::Empty } else { Found::Missing };
    }
    let Some(entry) = index.service(name.folded(depth - 2, depth)) else { return Found::Missing };
    let inside = external.headless && entry.headless && entry.outside.is_none() && !entry.members.is_empty();
    if entry.outside.is_none() && !inside {
        return Found::Missing;
    }
    match depth {
        2 => Found::Service(entry, None),
        3 if inside => endpoint(entry, name.label(0)),
        3 => protocol(entry, name.label(0)),
        4 => port(entry, name),
        _ => Found::Missing,
    }
}

/// A name of the zone for those outside.
struct Part<'p> {
    scribe: Scribe<'p>,
    external: &'p External,
    owner: Owner<'p>,
}

impl Part<'_> {
    fn write(&self, found: Found<'_, '_>, writer: &mut Writer<'_>) -> Yield {
        let (scribe, owner) = (&self.scribe, self.owner);
        match found {
            Found::Apex => self.apex(writer),
            Found::NameServer => {
                let addresses = self.server_addresses();
                let wanted = addresses.iter().filter(|address| scribe.wants(**address));
                let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
                let count = wanted.map(|at| scribe.address(Section::Answer, push_owner, *at, writer)).count();
                Yield::of(count > 0)
            }
            Found::Service(entry, labels) => match &entry.outside {
                Some(outside) if scribe.kind == kind::SRV => self.srv(entry, outside, labels, writer),
                Some(outside) => scribe.records(outside.addresses.of_kind(scribe.kind), owner, writer),
                None if scribe.kind == kind::SRV => service::srv(scribe, entry, labels, owner, writer),
                None => {
                    let fits = |port: &Port| labels.is_none_or(|labels| labels.fit(port));
                    let members = entry.members.iter().filter(|member| {
                        labels.is_none() || entry.members.ports_of(*member).iter().any(fits)
                    });
                    let addresses = Addresses::of(members.map(|member| member.address), scribe.ttl_s);
                    scribe.records(addresses.of_kind(scribe.kind), owner, writer)
                }
            },
            Found::Endpoint(entry, host) => match scribe.kind {
                kind::SRV => service::endpoint_srv(scribe, entry, host, owner, writer),
                _ => service::endpoint_addresses(scribe, entry, host, owner, writer),
            },
            Found::Address(address) => self.pointers(address, writer),
            _ => Yield::NoData,
        }
    }

    fn apex(&self, writer: &mut Writer<'_>) -> Yield {
        match self.scribe.kind {
            kind::SOA => self.soa(Section::Answer, writer),
            kind::NS => {
                let target_at = pointer(writer.position() + 12);
                let push_owner = |out: &mut Vec<u8>| push_pointer(out, self.owner.pointer);
                writer.add(Section::Answer, push_owner, kind::NS, self.external.ttl_s, |out| {
                    self.push_below_apex(b"\x03ns1", out);
                });
                for address in self.server_addresses() {
                    let push_owner = |out: &mut Vec<u8>| push_pointer(out, target_at);
                    self.scribe.address(Section::Additional, push_owner, address, writer);
                }
            }
            _ => return Yield::NoData,
        }
        Yield::Data
    }

    fn soa(&self, section: Section, writer: &mut Writer<'_>) {
        let push_zone = |out: &mut Vec<u8>| push_pointer(out, self.owner.zone_pointer);
        let ttl_s = self.external.ttl_s;
        writer.add(section, push_zone, kind::SOA, ttl_s, |out| {
            self.push_below_apex(b"\x03ns1", out);
            self.push_below_apex(b"\x0ahostmaster", out);
            for number in soa_numbers(self.scribe.index, ttl_s) {
                out.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    fn push_below_apex(&self, label: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(label);
        out.extend_from_slice(&self.external.apex);
        push_pointer(out, self.owner.zone_pointer);
    }

    /// Where the Services that select this server are reached from outside, or this machine.
    fn server_addresses(&self) -> Vec<IpAddr> {
        let servers = self.scribe.index.name_servers().iter();
        let outside = servers.filter_map(|server| server.entry.outside.as_ref());
        let records =
            outside.flat_map(|outside| outside.addresses.v4.from(0).chain(outside.addresses.v6.from(0)));
        let found: Vec<IpAddr> = records.filter_map(Records::address).collect();
        if found.is_empty() { self.external.addresses.clone() } else { found }
    }

    fn srv(
        &self,
        entry: &Entry,
        outside: &Outside,
        labels: Option<PortLabels<'_>>,
        writer: &mut Writer<'_>,
    ) -> Yield {
        let addresses = outside.addresses.v4.len() + outside.addresses.v6.len();
        let wanted: Vec<&Port> =
            entry.ports.iter().filter(|port| labels.is_none_or(|labels| labels.fit(port))).collect();
        let Some(weight) = service::weight((addresses + outside.hosts.len()) * wanted.len()) else {
            return Yield::NoData;
        };
        let (scribe, owner) = (&self.scribe, self.owner);
        let target_at = pointer(writer.position() + service::SRV_HEADER);
        for (number, port) in wanted.iter().enumerate() {
            let listed = wanted[..number].iter().any(|earlier| earlier.port == port.port);
            if addresses > 0 && !listed {
                let target = |out: &mut Vec<u8>| out.extend_from_slice(scribe.stem(entry));
                service::add_srv(scribe, weight, port.port, owner, writer, target);
            }
            for host in outside.hosts.iter().filter(|_| !listed) {
                let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
                writer.add(Section::Answer, push_owner, kind::SRV, scribe.ttl_s, |out| {
                    for number in [0, weight, port.port] {
                        out.extend_from_slice(&number.to_be_bytes());
                    }
                    out.extend_from_slice(host);
                });
            }
        }
        for record in outside.addresses.v4.from(0).chain(outside.addresses.v6.from(0)) {
            writer.add_made(Section::Additional, target_at, record);
        }
        Yield::Data
    }

    fn pointers(&self, address: IpAddr, writer: &mut Writer<'_>) -> Yield {
        let (kind::PTR, Some(primary)) = (self.scribe.kind, self.external.primary()) else {
            return Yield::NoData;
        };
        let owners = self.scribe.index.owners_outside(address).filter(|entry| entry.visible);
        let count = owners
            .map(|entry| {
                let push_owner = |out: &mut Vec<u8>| push_pointer(out, self.owner.pointer);
                writer.add(Section::Answer, push_owner, kind::PTR, self.external.ttl_s, |out| {
                    out.extend_from_slice(entry.key());
                    out.extend_from_slice(primary.wire());
                })
            })
            .count();
        Yield::of(count > 0)
    }
}
