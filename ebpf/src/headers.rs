//! The headers of a packet: where they are, and what identifies its flow.
//!
//! Reading and rewriting stand together, and so make a long file: both go by the same offsets.

use bytemuck::{Pod, Zeroable};
use seaway_common::{Addr, Be16, Be32, Delta, FlowKey, Reason, Rewrite, proto};

use crate::packet::Change;
use crate::{Packet, sctp};

/// The headers of a transport packet over IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Addresses, ports and protocol; no ports in later fragments and in ICMP.
    pub(crate) key: FlowKey,
    /// IPv4, else IPv6.
    pub(crate) v4: bool,
    /// Which part of a datagram this is.
    pub(crate) part: Part,
    /// TCP flags, also for what means the same in SCTP; 0 for UDP; the type for ICMP.
    pub(crate) flags: u8,
    /// Offset of the network header.
    pub(crate) l3: usize,
    /// Offset of the transport header.
    pub(crate) l4: usize,
    /// Identification of a fragmented datagram.
    pub(crate) id: Be32,
    /// The packet starts a flow in the place of one that has its key.
    pub(crate) replaces: bool,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The first fragment, which has the transport header.
    First,
    /// A later fragment.
    Later,
}

/// TCP flag bits (RFC 9293, section 3.1).
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

pub(crate) const ETHERTYPE_IPV4: Be16 = Be16::new(0x0800);
pub(crate) const ETHERTYPE_IPV6: Be16 = Be16::new(0x86dd);
/// IEEE 802.1Q and 802.1ad.
const ETHERTYPE_VLAN: Be16 = Be16::new(0x8100);
const ETHERTYPE_QINQ: Be16 = Be16::new(0x88a8);
pub(crate) const ETHERTYPE: usize = 12;
/// Length of a link header without tags, and of a tag.
pub(crate) const ETHERNET_LEN: usize = 14;
const TAG_LEN: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Ipv4 {
    pub(crate) version_ihl: u8,
    pub(crate) tos: u8,
    pub(crate) total_len: Be16,
    pub(crate) id: Be16,
    pub(crate) fragment: Be16,
    pub(crate) ttl: u8,
    pub(crate) proto: u8,
    pub(crate) checksum: u16,
    pub(crate) src: Be32,
    pub(crate) dst: Be32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Ipv6 {
    pub(crate) version_class_label: Be32,
    pub(crate) payload_len: Be16,
    pub(crate) next_header: u8,
    pub(crate) hop_limit: u8,
    pub(crate) src: [Be32; 4],
    pub(crate) dst: [Be32; 4],
}

pub(crate) const IPV4_LEN: usize = size_of::<Ipv4>();
pub(crate) const IPV6_LEN: usize = size_of::<Ipv6>();
const _: () = assert!(IPV4_LEN == 20 && IPV6_LEN == 40);

/// More fragments (RFC 791, section 3.1), and the offset's bits.
const MORE_FRAGMENTS: u16 = 0x2000;
pub(crate) const FRAGMENT_OFFSET: u16 = 0x1fff;
const IPV4_TTL: usize = 8;
const IPV4_ADDRESSES: usize = 12;
const IPV6_HOP_LIMIT: usize = 7;
const IPV6_ADDRESSES: usize = 8;
pub(crate) const TCP_LEN: usize = 20;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
pub(crate) const TCP_CHECKSUM: usize = 16;
pub(crate) const UDP_LEN: usize = 8;
pub(crate) const UDP_CHECKSUM: usize = 6;
pub(crate) const ICMP_LEN: usize = 8;

/// IPv6 extension headers that are walked over at most.
const EXTENSIONS_MAX: usize = 4;
/// A transport header farther behind is not looked for.
const L4_MASK: usize = 0x1ff;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Which family's header follows the link header, and where.
#[inline(always)]
pub(crate) fn network<P: Packet>(packet: &P, tags: bool) -> Result<Option<(bool, usize)>, Reason> {
    let mut ethertype: Be16 = packet.read(ETHERTYPE)?;
    let mut l3 = ETHERNET_LEN;
    if tags {
        if ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ {
            ethertype = packet.read(l3 + 2)?;
            l3 += TAG_LEN;
        }
        if ethertype == ETHERTYPE_VLAN {
            ethertype = packet.read(l3 + 2)?;
            l3 += TAG_LEN;
        }
    }
    if ethertype == ETHERTYPE_IPV4 {
        Ok(Some((true, l3)))
    } else if ethertype == ETHERTYPE_IPV6 {
        Ok(Some((false, l3)))
    } else {
        Ok(None)
    }
}

impl Headers {
    /// Addresses, ports and protocol.
    #[inline(always)]
    pub const fn key(&self) -> &FlowKey {
        &self.key
    }

    /// Offset of the network header, bounded for the verifier: behind at most two tags.
    #[inline(always)]
    pub(crate) fn l3(&self) -> usize {
        self.l3 & 0x1f
    }

    /// Offset of the transport header, bounded for the verifier.
    #[inline(always)]
    pub(crate) fn l4(&self) -> usize {
        self.l4 & L4_MASK
    }

    /// A packet that opens a connection: a SYN, or SCTP's INIT.
    #[inline(always)]
    pub(crate) fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// The answer to a SYN.
    #[inline(always)]
    pub(crate) fn accepts(&self) -> bool {
        self.flags & (SYN | ACK) == SYN | ACK
    }

    /// A FIN or RST, after which the connection ends.
    #[inline(always)]
    pub(crate) fn closes(&self) -> bool {
        self.flags & (FIN | RST) != 0
    }

    /// Whether only an opening packet starts a flow.
    #[inline(always)]
    pub(crate) fn is_connection(&self) -> bool {
        self.key.proto != proto::UDP
    }

    /// Whether this is ICMP or ICMPv6.
    #[inline(always)]
    pub(crate) fn is_icmp(&self) -> bool {
        self.key.proto == if self.v4 { proto::ICMP } else { proto::ICMPV6 }
    }

    /// Packets that the node may still forward (RFC 791 section 3.2, RFC 8200 section 3).
    #[inline(always)]
    pub(crate) fn hops_left<P: Packet>(&self, packet: &P) -> Result<u8, Reason> {
        packet.read(self.l3() + if self.v4 { IPV4_TTL } else { IPV6_HOP_LIMIT })
    }

    /// Length on the wire from the network header on; of each packet that this one stands for.
    #[inline(always)]
    pub(crate) fn wire_len<P: Packet>(&self, packet: &P) -> Result<usize, Reason> {
        let segment = packet.segment_len();
        if segment != 0 {
            let header = if self.key.proto == proto::TCP {
                usize::from(packet.read::<u8>(self.l4() + TCP_DATA_OFFSET)? >> 4) * 4
            } else {
                UDP_LEN
            };
            return Ok(self.l4() - self.l3() + header + segment);
        }
        let length: Be16 = packet.read(self.l3() + if self.v4 { 2 } else { 4 })?;
        Ok(usize::from(length.get()) + if self.v4 { 0 } else { IPV6_LEN })
    }

    /// Takes one hop of the packet's life, and changes nothing else.
    ///
    /// # Errors
    /// As [`rewrite`](Self::rewrite).
    #[inline(always)]
    pub(crate) fn age<P: Packet>(&self, packet: &mut P) -> Result<(), Reason> {
        if !self.v4 {
            let life: u8 = packet.read(self.l3() + IPV6_HOP_LIMIT)?;
            return packet.write(self.l3() + IPV6_HOP_LIMIT, life.wrapping_sub(1));
        }
        let [life, checksum]: [u16; 2] = packet.read(self.l3() + IPV4_TTL)?;
        let (shorter, delta) = shortened(life);
        packet.write(self.l3() + IPV4_TTL, [shorter, delta.update(checksum)])
    }

    /// Gives the packet the addresses and ports of `to`, and the checksums that go with them; and
    /// one hop less to live where the program itself forwards it.
    ///
    /// # Errors
    /// None for a packet that these headers were read from.
    #[inline(never)]
    pub(crate) fn rewrite<P: Packet>(
        &self,
        packet: &mut P,
        to: &Rewrite,
        forward: bool,
    ) -> Result<(), Reason> {
        self.rewrite_inlined(packet, to, forward)
    }

    /// [`rewrite`](Self::rewrite) without the calls, for XDP: they are a fifth of what a packet
    /// costs there. The programs after it would be too long for the verifier with it.
    ///
    /// # Errors
    /// As [`rewrite`](Self::rewrite).
    #[inline(always)]
    pub(crate) fn rewrite_inlined<P: Packet>(
        &self,
        packet: &mut P,
        to: &Rewrite,
        forward: bool,
    ) -> Result<(), Reason> {
        if self.v4 {
            let [life, checksum]: [u16; 2] = packet.read(self.l3() + IPV4_TTL)?;
            let mut delta = to.l3_delta;
            let mut shorter = life;
            if forward {
                let (less, change) = shortened(life);
                shorter = less;
                delta = delta.and(change);
            }
            packet.write(self.l3() + IPV4_TTL, [shorter, delta.update(checksum)])?;
            packet.write(self.l3() + IPV4_ADDRESSES, [to.src.last_word(), to.dst.last_word()])?;
        } else {
            if forward {
                let life: u8 = packet.read(self.l3() + IPV6_HOP_LIMIT)?;
                packet.write(self.l3() + IPV6_HOP_LIMIT, life.wrapping_sub(1))?;
            }
            packet.write(self.l3() + IPV6_ADDRESSES, [to.src, to.dst])?;
        }
        self.rewrite_transport(packet, to)
    }

    /// Gives the packet the ports of `to`, and the transport checksum that goes with it.
    ///
    /// # Errors
    /// As [`rewrite`](Self::rewrite).
    #[inline(always)]
    pub(crate) fn rewrite_transport<P: Packet>(&self, packet: &mut P, to: &Rewrite) -> Result<(), Reason> {
        if self.part == Part::Later || self.is_icmp() {
            return Ok(());
        }
        if self.key.proto == proto::SCTP {
            return sctp::rewrite_ports(packet, self, to);
        }
        packet.write(self.l4(), [to.sport, to.dport])?;
        let udp = self.key.proto == proto::UDP;
        let at = self.l4() + if udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
        let change = Change { all: to.l4_delta, addresses: to.l3_delta, optional: udp, v6: !self.v4 };
        packet.update_checksum(at, &change)
    }
}

/// The word of an IPv4 header with the time to live, with one hop less, and what that does to the
/// header's checksum.
#[inline(always)]
fn shortened(word: u16) -> (u16, Delta) {
    // The first byte in memory is the hop count.
    let [hops, proto] = word.to_ne_bytes();
    let shorter = u16::from_ne_bytes([hops.wrapping_sub(1), proto]);
    (shorter, Delta::between(word.into(), shorter.into()))
}

/// Reads IPv4 headers. `None`: neither TCP nor UDP; with `all`, neither SCTP nor ICMP either.
///
/// # Errors
/// [`Reason::Truncated`], [`Reason::BadHeader`], and without `all`, [`Reason::Fragment`]; none of
/// them drops.
#[inline(always)]
pub(crate) fn parse_v4<P: Packet>(packet: &P, l3: usize, all: bool) -> Result<Option<Headers>, Reason> {
    let ip: Ipv4 = packet.read(l3)?;
    let header_len = usize::from(ip.version_ihl & 0xf) * 4;
    let total_len = usize::from(ip.total_len.get());
    if ip.version_ihl >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len {
        return Err(Reason::BadHeader);
    }
    if l3 + total_len > packet.len() && l3 + total_len > packet.whole_len() {
        return Err(Reason::Truncated);
    }
    let fragment = ip.fragment.get();
    let part = match (fragment & FRAGMENT_OFFSET, fragment & MORE_FRAGMENTS) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    let id = Be32::new(u32::from(ip.id.get()));
    let key = FlowKey { src: Addr::v4(ip.src), dst: Addr::v4(ip.dst), proto: ip.proto, ..FlowKey::default() };
    let headers = Headers { key, v4: true, part, flags: 0, l3, l4: l3 + header_len, id, replaces: false };
    transport(packet, headers, total_len - header_len, all)
}

/// Reads IPv6 headers; with `all`, extension headers too. `None` as for [`parse_v4`].
///
/// # Errors
/// As [`parse_v4`], and [`Reason::Unfollowed`] for too many extension headers.
#[inline(always)]
pub(crate) fn parse_v6<P: Packet>(packet: &P, l3: usize, all: bool) -> Result<Option<Headers>, Reason> {
    let ip: Ipv6 = packet.read(l3)?;
    let payload_len = usize::from(ip.payload_len.get());
    if ip.version_class_label.get() >> 28 != 6 {
        return Err(Reason::BadHeader);
    }
    let l4 = l3 + IPV6_LEN;
    if l4 + payload_len > packet.len() && l4 + payload_len > packet.whole_len() {
        return Err(Reason::Truncated);
    }
    let key =
        FlowKey { src: Addr::v6(ip.src), dst: Addr::v6(ip.dst), proto: ip.next_header, ..FlowKey::default() };
    let mut headers = Headers { key, v4: false, l3, l4, ..Headers::default() };
    if all {
        walk(packet, &mut headers)?;
    }
    let before = headers.l4.wrapping_sub(l4);
    if before > payload_len {
        return Err(Reason::BadHeader);
    }
    transport(packet, headers, payload_len - before, all)
}

/// Moves on to the transport header, over a bounded number of extension headers (RFC 8200, section 4).
#[inline(always)]
fn walk<P: Packet>(packet: &P, headers: &mut Headers) -> Result<(), Reason> {
    let mut next = headers.key.proto;
    let mut at = headers.l4;
    let mut seen = 0;
    while seen < EXTENSIONS_MAX {
        seen += 1;
        match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION => {
                let [following, len]: [u8; 2] = packet.read(at)?;
                at += if next == AUTHENTICATION {
                    (usize::from(len) + 2) * 4
                } else {
                    (usize::from(len) + 1) * 8
                };
                // Bounded alike in each round, so that the verifier sees no new state.
                at &= L4_MASK;
                next = following;
            }
            FRAGMENT => {
                let [following, _]: [u8; 2] = packet.read(at)?;
                let position: Be16 = packet.read(at + 2)?;
                headers.id = packet.read(at + 4)?;
                headers.part = match (position.get() >> 3, position.get() & 1) {
                    (0, 0) => Part::Whole,
                    (0, _) => Part::First,
                    _ => Part::Later,
                };
                at = (at + 8) & L4_MASK;
                next = following;
                if headers.part == Part::Later {
                    break;
                }
            }
            _ => break,
        }
    }
    if matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION | FRAGMENT)
        && headers.part != Part::Later
    {
        return Err(Reason::Unfollowed);
    }
    headers.key.proto = next;
    headers.l4 = at;
    Ok(())
}

#[inline(always)]
fn transport<P: Packet>(
    packet: &P,
    mut headers: Headers,
    l4_len: usize,
    all: bool,
) -> Result<Option<Headers>, Reason> {
    let (key, l4) = (&mut headers.key, headers.l4);
    let known = key.proto == proto::TCP || key.proto == proto::UDP;
    let icmp = key.proto == if headers.v4 { proto::ICMP } else { proto::ICMPV6 };
    if !known && !(all && (key.proto == proto::SCTP || icmp)) {
        return Ok(None);
    }
    if headers.part != Part::Whole && !all {
        return Err(Reason::Fragment);
    }
    if headers.part == Part::Later {
        return Ok(Some(headers));
    }
    if icmp {
        if l4_len < ICMP_LEN {
            return Err(Reason::BadHeader);
        }
        headers.flags = packet.read(l4)?;
        return Ok(Some(headers));
    }
    let least = if key.proto == proto::TCP {
        headers.flags = packet.read(l4 + TCP_FLAGS)?;
        TCP_LEN
    } else if all && key.proto == proto::SCTP {
        headers.flags = sctp::flags(packet, l4)?;
        sctp::LEN_MIN
    } else {
        UDP_LEN
    };
    if l4_len < least {
        return Err(Reason::BadHeader);
    }
    let [sport, dport]: [Be16; 2] = packet.read(l4)?;
    key.sport = sport;
    key.dport = dport;
    Ok(Some(headers))
}
