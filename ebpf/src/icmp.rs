//! ICMP and ICMPv6: errors about translated packets, and echo requests to virtual addresses.
//!
//! An error carries the start of the packet that it is about, as that packet looked where the error
//! arose. Turned round, its tuple is that of a packet in the error's own direction, so the flow entry
//! of that direction says how to rewrite both: the outer header as its packets are, the inner one
//! as the packet was before translation.

use seaway_common::{Addr, Be16, Delta, FlowKey, Reason, Rewrite, proto};

use crate::headers::{
    FRAGMENT_OFFSET, Headers, ICMP_LEN, IPV4_CHECKSUM, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, Part, TCP_CHECKSUM,
    UDP_CHECKSUM, walk,
};
use crate::translate::Stage;
use crate::{Packet, Tables};

/// Types (RFC 792, RFC 4443): destination unreachable, time exceeded, parameter problem.
const V4_ERRORS: [u8; 3] = [3, 11, 12];
/// ICMPv6 errors are those below 128: unreachable, too big, time exceeded, parameter problem.
const V6_ERRORS_LAST: u8 = 4;
pub(crate) const V4_ECHO: u8 = 8;
pub(crate) const V6_ECHO: u8 = 128;

const CHECKSUM: usize = 2;
/// Headers of the inner packet farther behind are not looked for. All bits set, so that it is a mask too.
const OFFSET_MAX: usize = 0x3ff;
const IPV4_ADDRESSES: usize = 12;
const IPV6_ADDRESSES: usize = 8;

/// The packet inside of an error.
#[derive(Clone, Copy, Default)]
pub struct Inner {
    /// Its tuple, turned round: a packet in the error's own direction.
    pub(crate) reversed: FlowKey,
    /// What packets of that direction become.
    pub(crate) to: Rewrite,
    /// What its rewrite does to the sum over the error's payload.
    change: Delta,
    /// Offset of its network header.
    l3: usize,
    /// Offset of its transport header.
    l4: usize,
    /// Where the error ends.
    end: usize,
}

/// What an ICMP packet is.
pub(crate) enum Message {
    /// Nothing that concerns a service.
    NotOurs,
    /// An echo request to a virtual address.
    Echo,
    /// An error about a packet with ports.
    Error,
    /// Not whole.
    No(Reason),
}

impl Inner {
    /// Bounded for the verifier.
    #[inline(always)]
    fn l3(&self) -> usize {
        self.l3 & OFFSET_MAX
    }

    /// Bounded for the verifier.
    #[inline(always)]
    fn l4(&self) -> usize {
        self.l4 & OFFSET_MAX
    }
}

/// Reads an ICMP packet; `inner` is filled for an error.
#[inline(never)]
pub(crate) fn read<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    tables: &T,
    stage: Stage,
    inner: &mut Inner,
) -> Message {
    inner.l4 = 0;
    if headers.part != Part::Whole {
        return Message::NotOurs;
    }
    let kind = headers.flags;
    if kind == if headers.v4 { V4_ECHO } else { V6_ECHO } {
        let asked = stage == Stage::Ingress && tables.address(&headers.key.dst) != 0;
        return if asked { Message::Echo } else { Message::NotOurs };
    }
    let error = if headers.v4 {
        V4_ERRORS[0] == kind || V4_ERRORS[1] == kind || V4_ERRORS[2] == kind
    } else {
        kind != 0 && kind <= V6_ERRORS_LAST
    };
    if !error {
        return Message::NotOurs;
    }
    match headers.wire_len(packet) {
        Ok(len) => inner.end = headers.l3() + len,
        Err(reason) => return Message::No(reason),
    }
    match parse_inner(packet, headers.l4() + ICMP_LEN, headers.v4, inner) {
        Ok(()) if inner.l4 == 0 => Message::NotOurs,
        Ok(()) => Message::Error,
        Err(reason) => Message::No(reason),
    }
}

/// Rewrites the error's own addresses and its checksum, after what it is about.
#[inline(never)]
pub(crate) fn rewrite<P: Packet>(packet: &mut P, headers: &Headers, inner: &Inner) -> Result<(), Reason> {
    // What is not translated in this direction stays: a router on the way speaks for itself.
    let src = if inner.to.src == inner.reversed.src { headers.key.src } else { inner.to.src };
    let dst = inner.to.dst;
    let outer =
        Delta::between_addrs(&headers.key.src, &src).and(Delta::between_addrs(&headers.key.dst, &dst));
    // ICMPv6 sums the addresses too (RFC 4443, section 2.3).
    let change = if headers.v4 { inner.change } else { inner.change.and(outer) };
    let checksum: u16 = packet.read(headers.l4() + CHECKSUM)?;
    packet.write(headers.l4() + CHECKSUM, change.update(checksum))?;
    if headers.v4 {
        let checksum: u16 = packet.read(headers.l3() + IPV4_CHECKSUM)?;
        packet.write(headers.l3() + IPV4_CHECKSUM, outer.update(checksum))?;
        return packet.write(headers.l3() + IPV4_ADDRESSES, [src.last_word(), dst.last_word()]);
    }
    packet.write(headers.l3() + IPV6_ADDRESSES, src)?;
    packet.write(headers.l3() + IPV6_ADDRESSES + size_of::<Addr>(), dst)
}

/// Reads the headers of the packet that an error is about.
#[inline(always)]
fn parse_inner<P: Packet>(packet: &P, l3: usize, v4: bool, inner: &mut Inner) -> Result<(), Reason> {
    let (src, dst, proto, l4) = if v4 {
        let ip: Ipv4 = packet.read(l3)?;
        let header_len = usize::from(ip.version_ihl & 0xf) * 4;
        if ip.version_ihl >> 4 != 4 || header_len < IPV4_LEN {
            return Err(Reason::BadHeader);
        }
        if ip.fragment.get() & FRAGMENT_OFFSET != 0 {
            return Ok(());
        }
        (Addr::v4(ip.src), Addr::v4(ip.dst), ip.proto, l3 + header_len)
    } else {
        let ip: Ipv6 = packet.read(l3)?;
        let (src, dst) = (Addr::v6(ip.src), Addr::v6(ip.dst));
        if ip.version_class_label.get() >> 28 != 6 {
            return Err(Reason::BadHeader);
        }
        if src.is_v4() || dst.is_v4() {
            return Err(Reason::Martian);
        }
        let chain = walk(packet, ip.next_header, l3 + IPV6_LEN, OFFSET_MAX)?;
        if chain.part == Part::Later {
            return Ok(());
        }
        (src, dst, chain.next, chain.at)
    };
    if proto != proto::TCP && proto != proto::UDP && proto != proto::SCTP {
        return Ok(());
    }
    if l4 > OFFSET_MAX {
        return Err(Reason::Unfollowed);
    }
    if l4 + size_of::<[Be16; 2]>() > inner.end {
        return Err(Reason::Truncated);
    }
    let [sport, dport]: [Be16; 2] = packet.read(l4)?;
    inner.reversed = FlowKey { src: dst, dst: src, sport: dport, dport: sport, proto, _pad: [0; 3] };
    inner.l3 = l3;
    inner.l4 = l4;
    Ok(())
}

/// Gives the inner packet the tuple that it had before translation.
#[inline(never)]
pub(crate) fn rewrite_inner<P: Packet>(packet: &mut P, v4: bool, inner: &mut Inner) -> Result<(), Reason> {
    let (old, to) = (&inner.reversed, &inner.to);
    // The reversed tuple becomes `to`, so the packet's own becomes that turned round; the sums are
    // the same.
    let addresses = to.l3_delta;
    let mut change = to.ports_delta();
    if v4 {
        // The header's own checksum makes up for the addresses.
        let checksum: u16 = packet.read(inner.l3() + IPV4_CHECKSUM)?;
        packet.write(inner.l3() + IPV4_CHECKSUM, addresses.update(checksum))?;
        packet.write(inner.l3() + IPV4_ADDRESSES, [to.dst.last_word(), to.src.last_word()])?;
    } else {
        change = change.and(addresses);
        packet.write(inner.l3() + IPV6_ADDRESSES, to.dst)?;
        packet.write(inner.l3() + IPV6_ADDRESSES + size_of::<Addr>(), to.src)?;
    }
    packet.write(inner.l4(), [to.dport, to.sport])?;
    let at = match old.proto {
        proto::TCP => TCP_CHECKSUM,
        proto::UDP => UDP_CHECKSUM,
        _ => {
            inner.change = change;
            return Ok(());
        }
    };
    let (at, udp, delta) = (inner.l4() + at, old.proto == proto::UDP, to.l4_delta);
    inner.change = change;
    // An error need not carry more than eight bytes of it (RFC 792); what is behind it is not summed.
    if at + size_of::<u16>() > inner.end {
        return Ok(());
    }
    let Ok(sum) = packet.read::<u16>(at) else { return Ok(()) };
    if udp && sum == 0 {
        return Ok(());
    }
    let new = delta.update(sum);
    inner.change = change.and(Delta::between(sum.into(), new.into()));
    packet.write(at, new)
}
