//! Answers about a zone itself: its authority, its name servers, and whose an address is.

use std::net::IpAddr;

use super::scribe::{Owner, Scribe, Yield, pointer, push_pointer};
use crate::index::{Index, NameServer, Records};
use crate::name::Zone;
use crate::options::Options;
use crate::wire::kind;
use crate::wire::writer::{Section, Writer};

const REFRESH_S: u32 = 7200;
const RETRY_S: u32 = 1800;
const EXPIRE_S: u32 = 86_400;
const SOA_TTL_MAX_S: u32 = 300;

/// Adds the zone's SOA as the reason why there is no data (RFC 2308).
pub(super) fn deny(index: &Index, options: &Options, owner: Owner<'_>, writer: &mut Writer<'_>) {
    soa(index, options, Section::Authority, owner, writer);
}

/// How long the SOA lives, in seconds.
pub(super) fn soa_ttl_s(options: &Options) -> u32 {
    options.ttl_s.min(SOA_TTL_MAX_S)
}

/// The numbers at the end of the SOA's data.
pub(super) fn soa_numbers(index: &Index, denial_ttl_s: u32) -> [u32; 5] {
    [index.serial, REFRESH_S, RETRY_S, EXPIRE_S, denial_ttl_s]
}

fn soa(index: &Index, options: &Options, section: Section, owner: Owner<'_>, writer: &mut Writer<'_>) {
    let push_zone = |out: &mut Vec<u8>| push_pointer(out, owner.zone_pointer);
    writer.add(section, push_zone, kind::SOA, soa_ttl_s(options), |out| {
        out.extend_from_slice(b"\x02ns\x03dns");
        push_pointer(out, owner.zone_pointer);
        out.extend_from_slice(b"\x0ahostmaster");
        push_pointer(out, owner.zone_pointer);
        for number in soa_numbers(index, options.ttl_s) {
            out.extend_from_slice(&number.to_be_bytes());
        }
    });
}

impl Scribe<'_> {
    /// The apex of a zone.
    pub(super) fn apex(&self, zone: &Zone, owner: Owner<'_>, writer: &mut Writer<'_>) -> Yield {
        match self.kind {
            kind::SOA => {
                soa(self.index, self.options, Section::Answer, owner, writer);
                Yield::Data
            }
            kind::NS => {
                self.name_servers(zone, owner, writer);
                Yield::Data
            }
            _ => Yield::NoData,
        }
    }

    /// `ns.dns` of a zone.
    pub(super) fn name_server(&self, owner: Owner<'_>, writer: &mut Writer<'_>) -> Yield {
        let mut some = false;
        for address in self.server_addresses().filter(|address| self.wants(*address)) {
            some = true;
            self.address(Section::Answer, |out| push_pointer(out, owner.pointer), address, writer);
        }
        Yield::of(some)
    }

    fn server_addresses(&self) -> Box<dyn Iterator<Item = IpAddr> + '_> {
        let servers = self.index.name_servers();
        if servers.is_empty() {
            let own = self.options.local_ips.iter().copied();
            Box::new(own.filter(|address| !address.is_loopback()))
        } else {
            Box::new(servers.iter().flat_map(addresses_of))
        }
    }

    fn name_servers(&self, zone: &Zone, owner: Owner<'_>, writer: &mut Writer<'_>) {
        let servers = self.index.name_servers();
        let mut targets: Vec<(Vec<u8>, u16, Vec<IpAddr>)> = Vec::new();
        if servers.is_empty() {
            let target = [b"\x02ns\x03dns", owner.zone].concat();
            targets.push((target, 0, self.server_addresses().collect()));
        }
        // Services are no names of a reverse zone.
        let primary = self.options.primary().filter(|_| zone.is_reverse());
        let zone_octets = primary.map_or(owner.zone, Zone::wire);
        for server in servers {
            let mut target = Vec::new();
            if let Some(member) = server.member.and_then(|place| server.entry.members.at(place)) {
                member.label().push_to(&mut target);
            }
            target.extend_from_slice(server.entry.stem());
            target.extend_from_slice(zone_octets);
            match targets.iter_mut().find(|(known, ..)| *known == target) {
                Some((_, _, addresses)) => addresses.extend(addresses_of(server)),
                None => targets.push((target, 0, addresses_of(server).collect())),
            }
        }
        for (target, at, _) in &mut targets {
            *at = pointer(writer.position() + 12);
            let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
            writer.add(Section::Answer, push_owner, kind::NS, self.options.ttl_s, |out| {
                out.extend_from_slice(target);
            });
        }
        for (_, at, addresses) in &targets {
            for address in addresses {
                self.address(Section::Additional, |out| push_pointer(out, *at), *address, writer);
            }
        }
    }

    /// The names of those who have an address. A Service's own address has one.
    pub(super) fn pointers(&self, address: IpAddr, owner: Owner<'_>, writer: &mut Writer<'_>) -> Yield {
        let (kind::PTR, Some(primary)) = (self.kind, self.options.primary()) else { return Yield::NoData };
        let mut some = false;
        for (entry, place) in self.index.owners(address).filter(|(entry, _)| entry.visible) {
            let member = place.and_then(|place| entry.members.at(place));
            some = true;
            let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
            writer.add(Section::Answer, push_owner, kind::PTR, self.options.ttl_s, |out| {
                if let Some(member) = member {
                    member.label().push_to(out);
                }
                out.extend_from_slice(entry.stem());
                out.extend_from_slice(primary.wire());
            });
            if member.is_none() {
                break;
            }
        }
        Yield::of(some)
    }
}

/// Where a name server is reached.
pub(super) fn addresses_of(server: &NameServer) -> Box<dyn Iterator<Item = IpAddr> + '_> {
    let member = server.member.and_then(|place| server.entry.members.at(place));
    match member {
        Some(member) => Box::new(std::iter::once(member.address)),
        None => {
            let own = &server.entry.addresses;
            Box::new(own.v4.from(0).chain(own.v6.from(0)).filter_map(Records::address))
        }
    }
}
