//! Packets, built and summed by `etherparse`: whatever it says about checksums is independent of
//! the code under test.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, Ipv4Header, Ipv4Options, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader};
use seaway_common::proto;

/// A TCP segment or UDP datagram in an Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port, of the same family.
    pub dst: SocketAddr,
    /// What is in it.
    pub kind: Kind,
    /// What follows the transport header.
    pub payload: Vec<u8>,
    /// IPv4 options, up to 40 bytes in words of four.
    pub options: Vec<u8>,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// TCP: sequence number, and acknowledgment number of what has one.
    pub numbers: [u32; 2],
}

/// UDP, or TCP with these flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SYN: a client opens a connection.
    Syn,
    /// SYN and ACK: a server answers.
    SynAck,
    /// ACK.
    Ack,
    /// FIN and ACK.
    Fin,
    /// RST.
    Rst,
    /// UDP.
    Datagram,
}

/// Both sides start, and stay, at one sequence number.
pub const NUMBER: u32 = 1000;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

/// Offset of the IP header.
pub const L3: usize = 14;

impl Frame {
    /// A frame without options and with a few bytes of payload.
    pub fn new(src: SocketAddr, dst: SocketAddr, kind: Kind) -> Self {
        Self {
            src,
            dst,
            kind,
            payload: b"payload".to_vec(),
            options: Vec::new(),
            hops: 64,
            numbers: [NUMBER; 2],
        }
    }

    /// The same frame to another destination.
    #[must_use]
    pub fn to(&self, dst: SocketAddr) -> Self {
        Self { dst, ..self.clone() }
    }

    /// What the other side sends back.
    #[must_use]
    pub fn reply(&self, kind: Kind) -> Self {
        Self { src: self.dst, dst: self.src, kind, ..self.clone() }
    }

    /// The same frame one hop further.
    #[must_use]
    pub fn forwarded(&self) -> Self {
        Self { hops: self.hops - 1, ..self.clone() }
    }

    /// Offset of the transport header.
    pub fn l4(&self) -> usize {
        L3 + if self.src.is_ipv4() { Ipv4Header::MIN_LEN + self.options.len() } else { Ipv6Header::LEN }
    }

    /// The bytes, with right lengths and checksums.
    ///
    /// # Panics
    /// When the addresses are of two families, or the frame does not fit.
    pub fn bytes(&self) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(self.ip());
        let mut bytes = Vec::new();
        if self.kind == Kind::Datagram {
            builder.udp(self.src.port(), self.dst.port()).write(&mut bytes, &self.payload)
        } else {
            builder.tcp_header(self.tcp()).write(&mut bytes, &self.payload)
        }
        .expect("the frame fits");
        bytes
    }

    /// The same with no UDP checksum (RFC 768).
    ///
    /// # Panics
    /// As [`bytes`](Self::bytes).
    pub fn bytes_without_checksum(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        let at = self.checksum_at();
        bytes[at..at + 2].fill(0);
        bytes
    }

    /// Offset of the transport checksum.
    pub fn checksum_at(&self) -> usize {
        self.l4() + if self.kind == Kind::Datagram { 6 } else { 16 }
    }

    fn ip(&self) -> IpHeaders {
        let transport = if self.kind == Kind::Datagram { UdpHeader::LEN } else { TcpHeader::MIN_LEN };
        let protocol = if self.kind == Kind::Datagram { proto::UDP } else { proto::TCP };
        self.headers_for(transport + self.payload.len(), protocol)
    }

    /// The network header of a packet between the same addresses with `len` bytes of this protocol.
    ///
    /// # Panics
    /// As [`bytes`](Self::bytes).
    pub fn headers_for(&self, len: usize, protocol: u8) -> IpHeaders {
        let payload_len = u16::try_from(len).expect("a short payload");
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header =
                    Ipv4Header::new(payload_len, self.hops, protocol.into(), src.octets(), dst.octets())
                        .expect("a short payload");
                header.options = Ipv4Options::try_from(&*self.options).expect("words of options");
                IpHeaders::Ipv4(header, Default::default())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header {
                    payload_length: payload_len,
                    next_header: protocol.into(),
                    hop_limit: self.hops,
                    source: src.octets(),
                    destination: dst.octets(),
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, Default::default())
            }
            _ => panic!("{} and {} are of two families", self.src, self.dst),
        }
    }

    fn tcp(&self) -> TcpHeader {
        let mut header = TcpHeader::new(self.src.port(), self.dst.port(), self.numbers[0], 64_000);
        header.syn = matches!(self.kind, Kind::Syn | Kind::SynAck);
        header.ack = matches!(self.kind, Kind::SynAck | Kind::Ack | Kind::Fin);
        header.fin = self.kind == Kind::Fin;
        header.rst = self.kind == Kind::Rst;
        header.acknowledgment_number = if header.ack { self.numbers[1] } else { 0 };
        header
    }
}
