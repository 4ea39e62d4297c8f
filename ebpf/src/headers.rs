//! The headers of a packet: where they are, and what identifies its flow.

use bytemuck::{Pod, Zeroable};
use seaway_common::{Addr, Be16, Be32, FlowKey, Reason, Rewrite, proto};

use crate::Packet;

/// A TCP or UDP packet over IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    /// Addresses, ports and protocol.
    pub(crate) key: FlowKey,
    /// IPv4, else IPv6.
    pub(crate) v4: bool,
    /// Offset of the transport header.
    pub(crate) l4: usize,
    /// TCP flags; 0 for UDP.
    pub(crate) tcp_flags: u8,
}

/// TCP flag bits (RFC 9293, section 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const ETHERTYPE_IPV4: Be16 = Be16::new(0x0800);
const ETHERTYPE_IPV6: Be16 = Be16::new(0x86dd);

/// Offset of the IP header: an Ethernet header without tags comes first.
const L3: usize = size_of::<Ethernet>();

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Ethernet {
    addresses: [Be16; 6],
    ethertype: Be16,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_len: Be16,
    id: Be16,
    fragment: Be16,
    ttl: u8,
    proto: u8,
    checksum: u16,
    src: Be32,
    dst: Be32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Ipv6 {
    version_class_label: Be32,
    payload_len: Be16,
    next_header: u8,
    hop_limit: u8,
    src: [Be32; 4],
    dst: [Be32; 4],
}

const _: () = assert!(L3 == 14 && size_of::<Ipv4>() == 20 && size_of::<Ipv6>() == 40);

/// More fragments, or a fragment offset (RFC 791, section 3.1).
const FRAGMENT_BITS: u16 = 0x3fff;
const IPV4_CHECKSUM: usize = 10;
const IPV4_ADDRESSES: usize = 12;
const IPV6_ADDRESSES: usize = 8;
const TCP_LEN: usize = 20;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;
const UDP_LEN: usize = 8;
const UDP_CHECKSUM: usize = 6;

/// The network protocol behind the link header.
pub(crate) enum Network {
    V4,
    V6,
}

/// Which family's headers follow, if any.
#[inline(always)]
pub(crate) fn network<P: Packet>(packet: &P) -> Result<Option<Network>, Reason> {
    let ethernet: Ethernet = packet.read(0)?;
    if ethernet.ethertype == ETHERTYPE_IPV4 {
        Ok(Some(Network::V4))
    } else if ethernet.ethertype == ETHERTYPE_IPV6 {
        Ok(Some(Network::V6))
    } else {
        Ok(None)
    }
}

impl Headers {
    /// A SYN that opens a connection.
    #[inline(always)]
    pub(crate) fn opens(&self) -> bool {
        self.tcp_flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// The answer to a SYN.
    #[inline(always)]
    pub(crate) fn accepts(&self) -> bool {
        self.tcp_flags & (SYN | ACK) == SYN | ACK
    }

    /// A FIN or RST, after which the connection ends.
    #[inline(always)]
    pub(crate) fn closes(&self) -> bool {
        self.tcp_flags & (FIN | RST) != 0
    }

    /// Gives the packet the addresses and ports of `to`, and the checksums that go with them.
    ///
    /// # Errors
    /// None for a packet that these headers were read from.
    #[inline(always)]
    pub(crate) fn rewrite<P: Packet>(&self, packet: &mut P, to: &Rewrite) -> Result<(), Reason> {
        if self.v4 {
            let checksum: u16 = packet.read(L3 + IPV4_CHECKSUM)?;
            packet.write(L3 + IPV4_CHECKSUM, to.l3_delta.update(checksum))?;
            packet.write(L3 + IPV4_ADDRESSES, [to.src.last_word(), to.dst.last_word()])?;
        } else {
            packet.write(L3 + IPV6_ADDRESSES, [to.src, to.dst])?;
        }
        packet.write(self.l4, [to.sport, to.dport])?;
        if self.key.proto == proto::TCP {
            let checksum: u16 = packet.read(self.l4 + TCP_CHECKSUM)?;
            return packet.write(self.l4 + TCP_CHECKSUM, to.l4_delta.update(checksum));
        }
        let checksum: u16 = packet.read(self.l4 + UDP_CHECKSUM)?;
        if checksum == 0 {
            return Ok(()); // No checksum was sent (RFC 768); the rewrite has none to keep right.
        }
        let updated = to.l4_delta.update(checksum);
        packet.write(self.l4 + UDP_CHECKSUM, if updated == 0 { 0xffff } else { updated })
    }
}

/// Reads IPv4 headers. `None`: neither TCP nor UDP.
///
/// # Errors
/// [`Reason::Truncated`], [`Reason::BadHeader`] and [`Reason::Fragment`], none of which drop.
#[inline(always)]
pub(crate) fn parse_v4<P: Packet>(packet: &P) -> Result<Option<Headers>, Reason> {
    let ip: Ipv4 = packet.read(L3)?;
    let header_len = usize::from(ip.version_ihl & 0xf) * 4;
    let total_len = usize::from(ip.total_len.get());
    if ip.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() || total_len < header_len {
        return Err(Reason::BadHeader);
    }
    if L3 + total_len > packet.len() {
        return Err(Reason::Truncated);
    }
    if ip.proto != proto::TCP && ip.proto != proto::UDP {
        return Ok(None);
    }
    if ip.fragment.get() & FRAGMENT_BITS != 0 {
        return Err(Reason::Fragment);
    }
    let (src, dst) = (Addr::v4(ip.src), Addr::v4(ip.dst));
    transport(packet, src, dst, ip.proto, L3 + header_len, total_len - header_len, true).map(Some)
}

/// Reads IPv6 headers. `None`: neither TCP nor UDP, or behind extension headers.
///
/// # Errors
/// As [`parse_v4`].
#[inline(always)]
pub(crate) fn parse_v6<P: Packet>(packet: &P) -> Result<Option<Headers>, Reason> {
    let ip: Ipv6 = packet.read(L3)?;
    let payload_len = usize::from(ip.payload_len.get());
    if ip.version_class_label.get() >> 28 != 6 {
        return Err(Reason::BadHeader);
    }
    let l4 = L3 + size_of::<Ipv6>();
    if l4 + payload_len > packet.len() {
        return Err(Reason::Truncated);
    }
    if ip.next_header != proto::TCP && ip.next_header != proto::UDP {
        return Ok(None);
    }
    let (src, dst) = (Addr::v6(ip.src), Addr::v6(ip.dst));
    transport(packet, src, dst, ip.next_header, l4, payload_len, false).map(Some)
}

#[inline(always)]
fn transport<P: Packet>(
    packet: &P,
    src: Addr,
    dst: Addr,
    proto: u8,
    l4: usize,
    l4_len: usize,
    v4: bool,
) -> Result<Headers, Reason> {
    let (least, tcp_flags) =
        if proto == proto::TCP { (TCP_LEN, packet.read::<u8>(l4 + TCP_FLAGS)?) } else { (UDP_LEN, 0) };
    if l4_len < least {
        return Err(Reason::BadHeader);
    }
    let [sport, dport]: [Be16; 2] = packet.read(l4)?;
    Ok(Headers { key: FlowKey { src, dst, sport, dport, proto, _pad: [0; 3] }, v4, l4, tcp_flags })
}
