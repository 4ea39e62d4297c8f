//! A second reading of a packet's headers, slow and plain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use seaway_common::proto;

/// Of the network header in an Ethernet frame.
const L3: usize = 14;
/// IPv6 extension headers (RFC 8200, RFC 4302).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Where the headers of an untagged frame are.
pub(crate) struct View {
    pub(crate) v4: bool,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) proto: u8,
    pub(crate) l4: usize,
    /// End of what the network header counts.
    pub(crate) end: usize,
    /// Offset of the identification, in a fragment.
    id: Option<Range<usize>>,
    /// Not whole.
    fragment: bool,
    /// Has no transport header.
    later: bool,
}

impl View {
    /// `None` where the headers do not hold together.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.get(12..14)? {
            [0x08, 0x00] => Self::v4(bytes),
            [0x86, 0xdd] => Self::v6(bytes),
            _ => None,
        }
    }

    fn v4(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(L3..L3 + 20)?;
        let len = usize::from(header[0] & 15) * 4;
        let end = L3 + usize::from(u16::from_be_bytes([header[2], header[3]]));
        let position = u16::from_be_bytes([header[6], header[7]]);
        let fragment = position & 0x3fff != 0;
        (header[0] >> 4 == 4 && len >= 20 && L3 + len <= end && end <= bytes.len()).then(|| Self {
            v4: true,
            src: Ipv4Addr::from(<[u8; 4]>::try_from(&header[12..16]).unwrap()).into(),
            dst: Ipv4Addr::from(<[u8; 4]>::try_from(&header[16..20]).unwrap()).into(),
            proto: header[9],
            l4: L3 + len,
            end,
            id: fragment.then_some(L3 + 4..L3 + 6),
            fragment,
            later: position & 0x1fff != 0,
        })
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(L3..L3 + 40)?;
        let end = L3 + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || end > bytes.len() {
            return None;
        }
        let mut view = Self {
            v4: false,
            src: Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).unwrap()).into(),
            dst: Ipv6Addr::from(<[u8; 16]>::try_from(&header[24..40]).unwrap()).into(),
            proto: header[6],
            l4: L3 + 40,
            end,
            id: None,
            fragment: false,
            later: false,
        };
        while matches!(view.proto, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            let at = view.l4;
            let extension = bytes.get(at..at + 8)?;
            view.l4 += match view.proto {
                FRAGMENT => {
                    let position = u16::from_be_bytes([extension[2], extension[3]]);
                    view.id = Some(at + 4..at + 8);
                    view.fragment = position & 0xfff9 != 0;
                    view.later = position >> 3 != 0;
                    8
                }
                AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
                _ => (usize::from(extension[1]) + 1) * 8,
            };
            view.proto = extension[0];
            if view.later {
                break;
            }
        }
        (view.l4 <= view.end).then_some(view)
    }

    /// Whether an IPv6 header has an IPv4-mapped address.
    pub(crate) fn has_mapped(&self) -> bool {
        [self.src, self.dst].iter().any(|ip| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()))
    }

    pub(crate) fn is_icmp(&self) -> bool {
        self.proto == if self.v4 { proto::ICMP } else { proto::ICMPV6 }
    }

    /// The bytes that a translation may change.
    pub(crate) fn translatable(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        ranges.push(0..12);
        if self.v4 {
            ranges.extend([L3 + 8..L3 + 9, L3 + 10..L3 + 20]);
        } else {
            ranges.push(L3 + 7..L3 + 40);
        }
        ranges.extend(self.id.clone());
        if !self.later {
            ranges.push(self.l4..self.l4 + 4);
            ranges.push(match self.proto {
                proto::TCP => self.l4 + 16..self.l4 + 18,
                proto::UDP => self.l4 + 6..self.l4 + 8,
                _ => self.l4 + 8..self.l4 + 12,
            });
        }
        ranges
    }

    /// Whether the network header's own sum is right; IPv6 has none.
    pub(crate) fn network_sum(&self, bytes: &[u8]) -> bool {
        !self.v4 || sum(&[&bytes[L3..self.l4]]) == 0xffff
    }

    /// Whether the transport's is; `None` where there is none, or not all that it covers.
    pub(crate) fn transport_sum(&self, bytes: &[u8]) -> Option<bool> {
        let payload = &bytes[self.l4..self.end];
        if self.fragment {
            return None;
        }
        let head = |len, at: usize| (payload.len() >= len).then(|| [payload[at], payload[at + 1]]);
        match self.proto {
            proto::TCP => head(20, 16).map(|_| self.pseudo(payload) == 0xffff),
            proto::UDP => {
                let len = head(8, 4)?;
                let whole = usize::from(u16::from_be_bytes(len)) == payload.len();
                (whole && head(8, 6)? != [0, 0]).then(|| self.pseudo(payload) == 0xffff)
            }
            proto::ICMP if self.v4 => head(8, 2).map(|_| sum(&[payload]) == 0xffff),
            proto::ICMPV6 if !self.v4 => head(8, 2).map(|_| self.pseudo(payload) == 0xffff),
            proto::SCTP if payload.len() >= 16 => {
                let mut plain = payload.to_vec();
                plain[8..12].fill(0);
                let right = seaway_ebpf::sctp::checksum(&plain).get().to_be_bytes();
                Some(payload[8..12] == right)
            }
            _ => None,
        }
    }

    fn pseudo(&self, payload: &[u8]) -> u16 {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        sum(&[&octets(self.src), &octets(self.dst), &len, &[0, self.proto], payload])
    }
}

/// The one's complement sum of 16-bit words, each part filled up to whole words.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let add = |all: u32, word: &[u8]| {
        let all = all + u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
        (all & 0xffff) + (all >> 16)
    };
    u16::try_from(words.fold(0, add)).unwrap()
}
