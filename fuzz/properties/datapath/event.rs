//! Any octets, read as events: packets that are nearly right, moments, changes.

use std::net::IpAddr;

use seaway_common::proto;
use seaway_tests::site::{BACKENDS, CLIENT, VIP, addr};

use super::view::sum;

/// What happens next.
pub(crate) enum Event {
    /// Time passes: so many ticks.
    Pass(u64),
    /// The next random number.
    Random(u32),
    /// A Service changes.
    Change(u8),
    /// A flow entry goes.
    Evict(u8),
    /// A packet comes by an interface; whether it is surely nobody's.
    Arrives(Vec<u8>, bool),
    /// The same for one that leaves.
    Leaves(Vec<u8>, bool),
}

/// Octets that are not read yet. Where they end, zeros follow.
pub(crate) struct Input<'a>(std::slice::Iter<'a, u8>);

/// Addresses that nothing is served at, and the last two over IPv6 of which nothing may come.
const FOREIGN: [&[&str]; 2] = [
    &["203.0.113.7", "198.51.100.9", "255.255.255.255", "127.0.0.1", "224.0.0.1"],
    &["2001:db8:f::7", "fe80::1", "::1", "ff02::1", "::ffff:10.96.0.80", "::ffff:192.0.2.10"],
];
/// Of [`FOREIGN`], those that are just somebody else.
const PLAIN: usize = 2;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

impl<'a> Input<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self(octets.iter())
    }

    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// `None` at the end.
    pub(crate) fn event(&mut self) -> Option<Event> {
        let kind = *self.0.next()?;
        Some(match kind & 15 {
            0 => Event::Pass(u64::from(self.next()).pow(2)),
            1 => Event::Random(u32::from(self.next()) << 24),
            2 => Event::Change(self.next()),
            3 => Event::Evict(self.next()),
            4..=6 => {
                let (packet, foreign) = self.packet();
                Event::Leaves(packet, foreign)
            }
            _ => {
                let (packet, foreign) = self.packet();
                Event::Arrives(packet, foreign)
            }
        })
    }

    /// A frame, and whether it is surely nobody's.
    fn packet(&mut self) -> (Vec<u8>, bool) {
        let family = usize::from(self.next() & 1);
        let shape = self.next();
        let proto = match shape & 7 {
            0..=2 => proto::TCP,
            3..=5 => proto::UDP,
            6 => proto::SCTP,
            _ => [proto::ICMP, proto::ICMPV6][family],
        };
        let (src, src_foreign) = self.address(family);
        let (dst, dst_foreign) = self.address(family);
        let transport = if shape & 7 == 7 { self.icmp(family) } else { self.transport(proto) };
        let foreign = src_foreign && dst_foreign && shape & 7 != 7;
        let cut = self.next();
        let mut bytes = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &[IPV4, IPV6][family][..]].concat();
        bytes.extend(self.network((src, dst), proto, transport, shape));
        // Damage: single bytes, what follows, an early end.
        for _ in 0..cut & 3 {
            let (at, byte) = (usize::from(self.next()), self.next());
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
        }
        match cut >> 4 {
            1 => bytes.extend([0xab; 9]),
            2 => bytes.truncate(usize::from(self.next())),
            3 => bytes[0] |= 1,
            _ => {}
        }
        (bytes, foreign && cut == 0)
    }

    /// One of a few, so that packets meet.
    fn address(&mut self, family: usize) -> (IpAddr, bool) {
        let which = self.next();
        let index = usize::from(which >> 4);
        let foreign = FOREIGN[family];
        match which & 15 {
            0..=4 => (addr(VIP[family]).ip(), false),
            5..=9 => (addr(CLIENT[family]).ip(), false),
            10..=13 => (addr(BACKENDS[family][index % 3]).ip(), false),
            _ => (foreign[index % foreign.len()].parse().unwrap(), index % foreign.len() < PLAIN),
        }
    }

    fn ports(&mut self) -> [u8; 4] {
        let mut port = || match self.next() & 7 {
            0..=2 => addr(CLIENT[0]).port(),
            3..=4 => addr(VIP[0]).port(),
            5..=6 => addr(BACKENDS[0][0]).port(),
            _ => 9,
        };
        let [sport, dport] = [port(), port()].map(u16::to_be_bytes);
        [sport[0], sport[1], dport[0], dport[1]]
    }

    /// A transport header and a few bytes; its sum comes later.
    fn transport(&mut self, proto: u8) -> Vec<u8> {
        let ports = self.ports();
        let payload = vec![0x5a; usize::from(self.next() & 63)];
        let flags = self.next();
        let mut bytes = ports.to_vec();
        match proto {
            proto::TCP => {
                bytes.extend([
                    0,
                    0,
                    0x10,
                    flags,
                    0,
                    0,
                    0,
                    1,
                    0x50,
                    [2, 0x12, 0x10, 0x11, 4, 0x14, 2, flags][usize::from(flags & 7)],
                ]);
                bytes.extend([1, 0, 0, 0, 0, 0]);
            }
            proto::UDP => {
                let len = u16::try_from(8 + payload.len()).unwrap();
                bytes.extend(len.to_be_bytes());
                bytes.extend([0, 0]);
            }
            _ => bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, [1, 2, 0, 6, 14][usize::from(flags) % 5], 0, 0, 4]),
        }
        bytes.extend(payload);
        bytes
    }

    /// An error about a packet, or an echo request.
    fn icmp(&mut self, family: usize) -> Vec<u8> {
        let kind = self.next();
        let types: [&[u8]; 2] = [&[3, 11, 12, 8, 0, 5], &[1, 2, 3, 128, 129, 137]];
        let mut bytes = vec![types[family][usize::from(kind) % 6], kind >> 5, 0, 0, 0, 0, 0, 0];
        let proto = if kind & 8 == 0 { proto::UDP } else { proto::TCP };
        let ((src, _), (dst, _)) = (self.address(family), self.address(family));
        let inner = self.transport(proto);
        let shape = self.next() & !0x18;
        let mut inner = self.network((src, dst), proto, inner, shape);
        if kind & 16 != 0 {
            inner.truncate(usize::from(self.next()));
        }
        bytes.extend(inner);
        bytes
    }

    /// Behind a network header, with options or extension headers, as a whole or a part; all sums right.
    fn network(&mut self, (src, dst): (IpAddr, IpAddr), proto: u8, mut l4: Vec<u8>, shape: u8) -> Vec<u8> {
        let part: [u8; 2] = match shape >> 3 & 3 {
            0 | 1 => [0, 0],
            2 => [0x20, 0],
            _ => [0, 2],
        };
        let hops = if shape & 0x20 != 0 { 1 } else { 64 };
        let extra = shape >> 6;
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let pseudo = [src.octets(), dst.octets()].concat();
                sum_up(&mut l4, proto, &pseudo);
                let options = match extra {
                    0 | 1 => vec![],
                    2 => vec![1; 4 * usize::from(self.next() % 11)],
                    _ => [vec![[131, 137, 7, 0][usize::from(self.next() & 3)]], vec![7, 4, 1, 1, 1, 1, 1]]
                        .concat(),
                };
                let total = u16::try_from(20 + options.len() + l4.len()).unwrap().to_be_bytes();
                let ihl = 0x45 + u8::try_from(options.len() / 4).unwrap();
                let mut header = vec![ihl, 0, total[0], total[1], 0, 7, part[0], part[1], hops, proto, 0, 0];
                header.extend([src.octets(), dst.octets()].concat());
                header.extend(options);
                let right = (!sum(&[&header])).to_be_bytes();
                header[10..12].copy_from_slice(&right);
                header.extend(l4);
                header
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let pseudo = [src.octets(), dst.octets()].concat();
                sum_up(&mut l4, proto, &pseudo);
                let mut kinds = vec![];
                let mut bodies = vec![];
                for _ in 0..if extra < 2 { 0 } else { self.next() % 6 } {
                    let what = self.next();
                    kinds.push([0, 43, 60, 60, 51, 44][usize::from(what) % 6]);
                    let units = if what & 0x80 == 0 { 0 } else { self.next() & 63 };
                    let len = if what % 6 == 4 {
                        (usize::from(units) + 2) * 4
                    } else {
                        (usize::from(units) + 1) * 8
                    };
                    let mut body = vec![0; if what % 6 == 5 { 8 } else { len }];
                    body[1] = units;
                    bodies.push(body);
                }
                if part != [0, 0] {
                    kinds.push(44);
                    let position = if part[0] == 0 { [0, 16] } else { [0, 1] };
                    bodies.push(vec![0, 0, position[0], position[1], 0, 0, 0, 7]);
                }
                let first = kinds.first().copied().unwrap_or(proto);
                for (index, body) in bodies.iter_mut().enumerate() {
                    body[0] = kinds.get(index + 1).copied().unwrap_or(proto);
                }
                let payload = [bodies.concat(), l4].concat();
                let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
                [vec![0x60, 0, 0, 0, len[0], len[1], first, hops], pseudo, payload].concat()
            }
            _ => unreachable!("addresses are of one family"),
        }
    }
}

/// Writes the sum of a transport header where it has its place.
fn sum_up(l4: &mut [u8], proto: u8, addresses: &[u8]) {
    let len = u32::try_from(l4.len()).unwrap().to_be_bytes();
    let pseudo = sum(&[addresses, &len, &[0, proto]]).to_be_bytes();
    let at = match proto {
        proto::TCP => 16,
        proto::UDP => 6,
        proto::SCTP => {
            let right = seaway_ebpf::sctp::checksum(l4).get().to_be_bytes();
            l4[8..12].copy_from_slice(&right);
            return;
        }
        _ => 2,
    };
    let covered = if proto == proto::ICMP { sum(&[l4]) } else { sum(&[&pseudo, l4]) };
    let right = (!covered).to_be_bytes();
    l4[at..at + 2].copy_from_slice(&right);
}
