//! Packets that no socket sends: written by `etherparse`, sent at a link.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use seaway_lab::{Namespace, RawSocket};

const ETHER_BYTES: usize = 14;
const ETHER_IPV4: [u8; 2] = [0x08, 0x00];
const ETHER_IPV6: [u8; 2] = [0x86, 0xdd];
const HOPS: u8 = 64;
/// Bytes of an IPv6 fragment header.
const FRAGMENT_BYTES: usize = 8;
const NEXT_FRAGMENT: u8 = 44;

/// The flags of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Opens a connection.
    Syn,
    /// Tears one down, without an acknowledgement number.
    Rst,
}

/// Sends packets from a namespace to the next hop behind one of its links.
#[derive(Debug)]
pub struct Sender {
    /// The link, also for what comes back.
    pub socket: RawSocket,
    macs: [u8; 12],
}

impl Sender {
    /// `hop`: the namespace and the link of the next hop, whose hardware address is taken.
    ///
    /// # Panics
    /// When a link is not there.
    pub fn new(from: (&Namespace, &str), hop: (&Namespace, &str)) -> Self {
        let own = from.0.mac(from.1).unwrap_or_else(|error| panic!("{error}"));
        let other = hop.0.mac(hop.1).unwrap_or_else(|error| panic!("{error}"));
        Self::to_mac(from, own, other)
    }

    fn to_mac(from: (&Namespace, &str), own: [u8; 6], other: [u8; 6]) -> Self {
        let socket = RawSocket::open(from.0, from.1).unwrap_or_else(|error| panic!("{error}"));
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&other);
        macs[6..].copy_from_slice(&own);
        Self { socket, macs }
    }

    /// Sends a packet, network header first.
    ///
    /// # Panics
    /// When the link does not take it.
    pub fn send(&self, packet: &[u8]) {
        self.send_as(self.macs, packet);
    }

    /// Sends it to everybody on the link, as the link layer sees it.
    ///
    /// # Panics
    /// When the link does not take it.
    pub fn broadcast(&self, packet: &[u8]) {
        let mut macs = self.macs;
        macs[..6].fill(0xff);
        self.send_as(macs, packet);
    }

    fn send_as(&self, macs: [u8; 12], packet: &[u8]) {
        let kind = if packet[0] >> 4 == 4 { ETHER_IPV4 } else { ETHER_IPV6 };
        let frame = [&macs[..], &kind, packet].concat();
        self.socket.send(&frame).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A UDP datagram as an IP packet, with the right checksums.
///
/// # Panics
/// When the addresses are of two families.
pub fn udp(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = UdpHeader::LEN + payload.len();
    let ip = ip_header(src.ip(), dst.ip(), length, IpNumber::UDP);
    let mut udp = UdpHeader {
        source_port: src.port(),
        destination_port: dst.port(),
        length: u16::try_from(length).expect("a datagram"),
        checksum: 0,
    };
    udp.checksum = match &ip {
        IpHeaders::Ipv4(ip, _) => udp.calc_checksum_ipv4(ip, payload),
        IpHeaders::Ipv6(ip, _) => udp.calc_checksum_ipv6(ip, payload),
    }
    .expect("a datagram");
    written(&ip, &[&udp.to_bytes()[..], payload].concat())
}

/// A TCP segment without data as an IP packet, with the right checksums.
///
/// # Panics
/// When the addresses are of two families.
pub fn tcp(src: SocketAddr, dst: SocketAddr, segment: Segment, sequence: u32) -> Vec<u8> {
    let ip = ip_header(src.ip(), dst.ip(), TcpHeader::MIN_LEN, IpNumber::TCP);
    let mut tcp = TcpHeader::new(src.port(), dst.port(), sequence, u16::MAX);
    tcp.syn = segment == Segment::Syn;
    tcp.rst = segment == Segment::Rst;
    tcp.checksum = match &ip {
        IpHeaders::Ipv4(ip, _) => tcp.calc_checksum_ipv4(ip, &[]),
        IpHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(ip, &[]),
    }
    .expect("a segment");
    written(&ip, &tcp.to_bytes())
}

/// An echo request as an IPv4 packet.
///
/// # Panics
/// When an address is of IPv6.
pub fn echo_request(src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let icmp = etherparse::Icmpv4Header::with_checksum(
        etherparse::Icmpv4Type::EchoRequest(etherparse::IcmpEchoHeader { id: 7, seq: 7 }),
        b"x",
    );
    let payload = [&icmp.to_bytes()[..], b"x"].concat();
    written(&ip_header(src, dst, payload.len(), IpNumber::ICMP), &payload)
}

/// The network header of a packet with this payload.
///
/// # Panics
/// When the addresses are of two families.
pub fn ip_header(src: IpAddr, dst: IpAddr, length: usize, protocol: IpNumber) -> IpHeaders {
    let length = u16::try_from(length).expect("a packet");
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header =
                Ipv4Header::new(length, HOPS, protocol, src.octets(), dst.octets()).expect("a packet");
            header.dont_fragment = false;
            header.identification = rand_id();
            header.header_checksum = header.calc_header_checksum();
            IpHeaders::Ipv4(header, Default::default())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                payload_length: length,
                next_header: protocol,
                hop_limit: HOPS,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
        _ => panic!("{src} and {dst} are of two families"),
    }
}

/// The same packet in fragments with at most `size` bytes of payload, a multiple of eight.
///
/// # Panics
/// When the packet is none.
pub fn fragments(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let is_v4 = packet[0] >> 4 == 4;
    let (header, payload) = packet.split_at(if is_v4 { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN });
    let count = payload.len().div_ceil(size);
    let id = rand_id();
    let parts = payload.chunks(size).enumerate();
    parts
        .map(|(index, part)| {
            let is_last = index + 1 == count;
            let offset = u16::try_from(index * size / 8).expect("a datagram");
            if is_v4 {
                v4_fragment(header, part, offset, is_last)
            } else {
                v6_fragment(header, part, offset, is_last, id)
            }
        })
        .collect()
}

fn v4_fragment(header: &[u8], part: &[u8], offset: u16, is_last: bool) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(header).expect("an IPv4 header");
    header.fragment_offset = offset.try_into().expect("a datagram");
    header.more_fragments = !is_last;
    header.total_len = u16::try_from(Ipv4Header::MIN_LEN + part.len()).expect("a fragment");
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], part].concat()
}

fn v6_fragment(header: &[u8], part: &[u8], offset: u16, is_last: bool, id: u16) -> Vec<u8> {
    let (mut header, _) = Ipv6Header::from_slice(header).expect("an IPv6 header");
    let mut fragment = [0; FRAGMENT_BYTES];
    fragment[0] = header.next_header.0;
    fragment[2..4].copy_from_slice(&(offset << 3 | u16::from(!is_last)).to_be_bytes());
    fragment[6..].copy_from_slice(&id.to_be_bytes());
    header.next_header = NEXT_FRAGMENT.into();
    header.payload_length = u16::try_from(FRAGMENT_BYTES + part.len()).expect("a fragment");
    [&header.to_bytes()[..], &fragment, part].concat()
}

fn written(ip: &IpHeaders, payload: &[u8]) -> Vec<u8> {
    let mut packet = match ip {
        IpHeaders::Ipv4(header, _) => header.to_bytes().to_vec(),
        IpHeaders::Ipv6(header, _) => header.to_bytes().to_vec(),
    };
    packet.extend_from_slice(payload);
    packet
}

/// Another number each time, so that no two datagrams are taken for one.
fn rand_id() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What an Ethernet frame carries.
pub fn payload(frame: &[u8]) -> &[u8] {
    frame.get(ETHER_BYTES..).unwrap_or_default()
}

/// Who sends a frame's packet to whom, and its protocol; for messages.
pub fn described(frame: &[u8]) -> String {
    match IpHeaders::from_slice(payload(frame)) {
        Ok((IpHeaders::Ipv4(header, _), inside)) => {
            format!(
                "{} > {} {:?}",
                IpAddr::from(header.source),
                IpAddr::from(header.destination),
                inside.ip_number
            )
        }
        Ok((IpHeaders::Ipv6(header, _), inside)) => {
            format!(
                "{} > {} {:?}",
                IpAddr::from(header.source),
                IpAddr::from(header.destination),
                inside.ip_number
            )
        }
        Err(error) => error.to_string(),
    }
}

/// Whether a frame carries an ICMP or ICMPv6 error.
pub fn is_icmp_error(frame: &[u8]) -> bool {
    let packet = payload(frame);
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(9) == Some(&1) && packet.get(20).is_some_and(|kind| matches!(kind, 3 | 11)),
        Some(6) => packet.get(6) == Some(&58) && packet.get(40).is_some_and(|kind| *kind < 128),
        _ => false,
    }
}

/// Whether a frame carries a TCP reset.
pub fn is_reset(frame: &[u8]) -> bool {
    tcp_flags(frame).is_some_and(|flags| flags & 0x04 != 0)
}

/// Whether a frame carries a SYN and an ACK.
pub fn is_syn_ack(frame: &[u8]) -> bool {
    tcp_flags(frame).is_some_and(|flags| flags & 0x12 == 0x12)
}

fn tcp_flags(frame: &[u8]) -> Option<u8> {
    let packet = payload(frame);
    let at = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&6) => 20,
        6 if packet.get(6) == Some(&6) => 40,
        _ => return None,
    };
    packet.get(at + 13).copied()
}
