//! Errors about translated packets, whose inner packet is cut anywhere or has headers of its own.

#![forbid(unsafe_code)]

use std::net::{Ipv6Addr, SocketAddr};

use etherparse::PacketBuilder;
use seaway_common::{Reason, proto};
use seaway_ebpf::Verdict;
use seaway_tests::{
    frame::{Frame, Kind, L3},
    site::{BACKENDS, CLIENT, Site, VIP, addr, services},
};

const ROUTER: [&str; 2] = ["198.51.100.1:0", "[2001:db8:1::1]:0"];
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const DESTINATION_OPTIONS: u8 = 60;

/// "Fragmentation needed" or "packet too big" about an IP packet.
fn too_big(from: SocketAddr, to: SocketAddr, quoted: &[u8], hops: u8) -> Vec<u8> {
    let frame = Frame { hops, ..Frame::new(from, to, Kind::Datagram) };
    let number = if to.is_ipv4() { proto::ICMP } else { proto::ICMPV6 };
    let step = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(frame.headers_for(8 + quoted.len(), number));
    let mut bytes = Vec::new();
    if to.is_ipv4() {
        let kind = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1300 };
        step.icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(kind)).write(&mut bytes, quoted)
    } else {
        step.icmpv6(etherparse::Icmpv6Type::PacketTooBig { mtu: 1300 }).write(&mut bytes, quoted)
    }
    .expect("memory takes any packet");
    bytes
}

/// The IP packet of a frame, with destination options of this length in an IPv6 one.
fn quoted(frame: &Frame, options: usize) -> Vec<u8> {
    let mut bytes = frame.bytes().split_off(L3);
    if options != 0 {
        let len = u16::from_be_bytes([bytes[4], bytes[5]]) + u16::try_from(options).unwrap();
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        let mut header = vec![0; options];
        header[0] = std::mem::replace(&mut bytes[6], DESTINATION_OPTIONS);
        header[1] = u8::try_from(options / 8 - 1).unwrap();
        bytes.splice(40..40, header);
    }
    bytes
}

/// A site where the client has a flow, and a later packet of it.
fn opened(family: usize, kind: Kind) -> (Site, Frame, SocketAddr) {
    let site = Site::new(&services(1));
    let frame = Frame::new(addr(CLIENT[family]), addr(VIP[family]), kind);
    let mut open = frame.bytes();
    assert_eq!(site.send(&mut open), Ok(Verdict::Translated));
    (site, Frame { payload: vec![7; 700], ..frame }, addr(BACKENDS[family][0]))
}

#[test]
fn an_error_is_translated_at_every_length_and_behind_extension_headers() {
    for (family, options) in [(0, 0), (1, 0), (1, 8), (1, 64)] {
        for kind in [Kind::Syn, Kind::Datagram] {
            let (site, frame, backend) = opened(family, kind);
            let (there, here) = (quoted(&frame.to(backend), options), quoted(&frame, options));
            let ports = if family == 0 { 20 } else { 40 + options } + 4;
            let router = addr(ROUTER[family]);
            for len in 0..200.max(ports + 40) {
                let error = too_big(router, frame.src, &there[..len], 64);
                let mut packet = error.clone();
                let verdict = site.send(&mut packet);
                if len < ports {
                    let untouched = matches!(verdict, Err(Reason::Truncated) | Ok(Verdict::NotOurs));
                    assert!(untouched && packet == error, "{len} bytes: {verdict:?}");
                    continue;
                }
                assert!(
                    matches!(verdict, Ok(Verdict::Resolve(_) | Verdict::Translated)),
                    "{len} bytes: {verdict:?}"
                );
                // Whether a program or the stack after it takes the hop is left open.
                let hops = packet[L3 + [8, 7][family]];
                // A checksum that is cut in the middle is left alone, and the error's own covers what is there.
                let expected = too_big(addr(VIP[family]), frame.src, &here[..len], hops);
                let sum = ports - 4 + if kind == Kind::Syn { 16 } else { 6 };
                if len != sum + 1 {
                    assert_eq!(packet, expected, "{len} bytes");
                }
            }
        }
    }
}

#[test]
fn bytes_behind_an_error_are_not_part_of_it() {
    for (family, kind) in [(0, Kind::Syn), (1, Kind::Syn), (0, Kind::Datagram), (1, Kind::Datagram)] {
        let (site, frame, backend) = opened(family, kind);
        let ports = if family == 0 { 20 } else { 40 } + 4;
        let (there, here) = (quoted(&frame.to(backend), 0), quoted(&frame, 0));
        // The rest of the inner packet is there, beyond what the error's header counts.
        let whole = |quoted: &[u8], from, hops| {
            [too_big(from, frame.src, &quoted[..ports], hops), there[ports..].to_vec()].concat()
        };
        let mut packet = whole(&there, addr(ROUTER[family]), 64);
        assert!(matches!(site.send(&mut packet), Ok(Verdict::Resolve(_) | Verdict::Translated)));
        let hops = packet[L3 + [8, 7][family]];
        assert_eq!(packet, whole(&here, addr(VIP[family]), hops));
    }
}

#[test]
fn a_mapped_address_inside_of_an_error_is_a_martian() {
    let (site, frame, backend) = opened(1, Kind::Datagram);
    let inner = quoted(&frame.to(backend), 0);
    let [client, mapped] =
        ["::ffff:192.0.2.10", "::ffff:10.1.1.111"].map(|text| text.parse::<Ipv6Addr>().unwrap());
    for (at, address) in [(8, client), (24, mapped)] {
        let mut quoted = inner.clone();
        quoted[at..at + 16].copy_from_slice(&address.octets());
        let error = too_big(addr(ROUTER[1]), frame.src, &quoted, 64);
        site.check_untouched(&error, Err(Reason::Martian));
    }
}
