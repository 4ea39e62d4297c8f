//! Answers about Services with more than one part: SRV records, and single endpoints.

use super::lookup::{PortLabels, Zonal};
use super::scribe::{Owner, Scribe, Yield, pointer, push_pointer};
use crate::index::{Addresses, Entry, Member, MemberName, Port};
use crate::wire::kind;
use crate::wire::writer::{Section, Writer};

/// What the weights of one answer add up to, as far as whole numbers can.
const WEIGHTS: usize = 100;
/// Owner, type, class, time to live, length, priority, weight and port.
pub(super) const SRV_HEADER: usize = 18;
/// Positions from here on cannot be pointed to.
const POINTED_MAX: usize = 0x4000;

/// SRV at a Service's name, or at a port of it.
pub(super) fn srv(
    scribe: &Scribe<'_>,
    entry: &Entry,
    labels: Option<PortLabels<'_>>,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Yield {
    if entry.headless {
        return members_srv(scribe, entry, entry.members.iter(), labels, owner, writer);
    }
    let wanted = |port: &&Port| labels.is_none_or(|labels| labels.fit(port));
    let ports = || entry.ports.iter().filter(wanted);
    let addresses = entry.addresses.v4.len() + entry.addresses.v6.len();
    let Some(weight) = weight(addresses * ports().count()) else { return Yield::NoData };
    let target_at = pointer(writer.position() + SRV_HEADER);
    for (number, port) in ports().enumerate() {
        if ports().take(number).any(|earlier| earlier.port == port.port) {
            continue;
        }
        add_srv(scribe, weight, port.port, owner, writer, |out| out.extend_from_slice(scribe.stem(entry)));
    }
    for record in entry.addresses.v4.from(0).chain(entry.addresses.v6.from(0)) {
        writer.add_made(Section::Additional, target_at, record);
    }
    Yield::Data
}

/// SRV at the name of an endpoint.
pub(super) fn endpoint_srv(
    scribe: &Scribe<'_>,
    entry: &Entry,
    host: MemberName<'_>,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Yield {
    members_srv(scribe, entry, entry.members.named(host), None, owner, writer)
}

/// A and AAAA at the name of an endpoint.
pub(super) fn endpoint_addresses(
    scribe: &Scribe<'_>,
    entry: &Entry,
    host: MemberName<'_>,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Yield {
    let mut some = false;
    for member in entry.members.named(host).filter(|member| !member.repeated) {
        if scribe.wants(member.address) {
            some = true;
            let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
            scribe.address(Section::Answer, push_owner, member.address, writer);
        }
    }
    Yield::of(some)
}

/// Everything at a name that picks endpoints by their zone.
pub(super) fn zonal(
    scribe: &Scribe<'_>,
    entry: &Entry,
    zonal: Zonal<'_>,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Yield {
    let is_in = |member: &Member<'_>| member.is_in_zone(zonal.labels());
    let some = entry.members.iter().any(|member| is_in(&member));
    let all = !some && zonal.prefer;
    let picked = entry.members.iter().filter(|member| all || is_in(member));
    if scribe.kind == kind::SRV {
        return members_srv(scribe, entry, picked, None, owner, writer);
    }
    let addresses = Addresses::of(picked.map(|member| member.address), scribe.ttl_s);
    scribe.records(addresses.of_kind(scribe.kind), owner, writer)
}

/// The addresses of the endpoints that have a port.
pub(super) fn addresses_with_port(entry: &Entry, labels: PortLabels<'_>, ttl_s: u32) -> Addresses {
    let has_port = |member: &Member<'_>| entry.members.ports_of(*member).iter().any(|port| labels.fit(port));
    Addresses::of(entry.members.iter().filter(has_port).map(|member| member.address), ttl_s)
}

fn members_srv<'e>(
    scribe: &Scribe<'_>,
    entry: &'e Entry,
    members: impl Iterator<Item = Member<'e>> + Clone,
    labels: Option<PortLabels<'_>>,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
) -> Yield {
    let of_member = |member: Member<'_>| {
        let ports = entry.members.ports_of(member).iter();
        ports.filter(move |port| labels.is_none_or(|labels| labels.fit(port)))
    };
    let pairs = members.clone().map(|member| of_member(member).count()).sum();
    let Some(weight) = weight(pairs) else { return Yield::NoData };
    let listed = |member: Member<'_>, number: usize, port: u16| {
        let same_slice = of_member(member).take(number).any(|earlier| earlier.port == port);
        let before = entry.members.before(member).flat_map(of_member).any(|earlier| earlier.port == port);
        same_slice || before
    };
    let start = writer.position();
    for member in members.clone() {
        for (number, port) in of_member(member).enumerate() {
            if listed(member, number, port.port) {
                continue;
            }
            let whole = add_srv(scribe, weight, port.port, owner, writer, |out| {
                member.push_name(out);
                out.extend_from_slice(scribe.stem(entry));
            });
            if !whole {
                return Yield::Data;
            }
        }
    }
    // The targets stand one after the other, so that additional records can point to them.
    let mut target_at = start + SRV_HEADER;
    let mut stem_at = None;
    for member in members.filter(|member| of_member(*member).next().is_some()) {
        let length = member.name_length();
        let number = of_member(member).enumerate();
        let fresh = number.filter(|(number, port)| !listed(member, *number, port.port)).count();
        let own_at = (fresh > 0).then_some(target_at);
        let stem = *stem_at.get_or_insert(target_at + length);
        target_at += fresh * (SRV_HEADER + length + scribe.stem(entry).len() + owner.zone.len());
        let same = |other: Member<'_>| other.address == member.address && of_member(other).next().is_some();
        if member.repeated && entry.members.before(member).any(same) {
            continue;
        }
        let push_owner = |out: &mut Vec<u8>| {
            if let Some(at) = own_at.filter(|at| *at < POINTED_MAX) {
                return push_pointer(out, pointer(at));
            }
            member.push_name(out);
            push_pointer(out, pointer(stem));
        };
        if !scribe.address(Section::Additional, push_owner, member.address, writer) {
            break;
        }
    }
    Yield::Data
}

pub(super) fn add_srv(
    scribe: &Scribe<'_>,
    weight: u16,
    port: u16,
    owner: Owner<'_>,
    writer: &mut Writer<'_>,
    target: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let push_owner = |out: &mut Vec<u8>| push_pointer(out, owner.pointer);
    writer.add(Section::Answer, push_owner, kind::SRV, scribe.ttl_s, |out| {
        for number in [0, weight, port] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        // RFC 2782 forbids compression of the target.
        target(out);
        out.extend_from_slice(owner.zone);
    })
}

/// The weight of each of so many pairs of address and port; `None` if there is none.
pub(super) fn weight(pairs: usize) -> Option<u16> {
    let each = WEIGHTS.checked_div(pairs)?.max(1);
    u16::try_from(each).ok()
}
