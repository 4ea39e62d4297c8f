//! Rows of the feature table that packets show: SCTP, tunnels, ICMP, and what XDP does by itself. On the
//! host, and on both programs of an interface in the kernel.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use crc::{CRC_32_ISCSI, Crc};
use etherparse::{IpHeaders, IpNumber, PacketBuilder, SlicedPacket, TransportSlice};
use seaway_common::{Addr, CONFIG_CROSS, Config, SERVICE_CROSS, SERVICE_DSR, SERVICE_EXTERNAL, proto};
use seaway_dataplane::{Maps, feeder::Fate};
use seaway_harness::{MemoryTables, privileged};
use seaway_tests::{
    balancer::{Balancer, Kernel},
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, key_of, patient},
};

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
/// The node's own addresses, which its way out has too, and a router between it and the backends.
const NODE: [&str; 2] = ["198.18.0.1:0", "[2001:db8:ff::1]:0"];
const ROUTER: [&str; 2] = ["10.99.0.9:0", "[fd99::9]:0"];
const L3: usize = 14;

/// Chunk types of SCTP (RFC 9260, section 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const DATA: u8 = 0;
const ABORT: u8 = 6;

/// One service of one backend in one family, with these bits, and a configured node.
fn virtual_of(family: usize, proto: u8) -> Virtual {
    Virtual { vip: addr(VIP[family]), proto, backends: vec![addr(BACKENDS[family][0])] }
}

fn configure(maps: &mut impl Maps, service: &Virtual, flags: u32) {
    let [v4, v6] = NODE.map(|text| Addr::from(addr(text).ip()));
    let bits = if flags & SERVICE_CROSS == 0 { 0 } else { CONFIG_CROSS };
    maps.put_config(&Config { snat_v4: v4, snat_v6: v6, flags: bits, ..patient() }).unwrap();
    let key = key_of(service.vip, service.proto);
    let frontends = maps.frontends().unwrap();
    let (_, mut value) = frontends.into_iter().find(|(found, _)| *found == key).unwrap();
    value.flags |= flags;
    maps.put_frontend(&key, &value).unwrap();
}

/// Runs `check` on the host, and as root on the kernel with and without XDP that may transmit.
fn everywhere(service: &Virtual, flags: u32, check: impl Fn(&mut dyn Balancer)) {
    let services = [service.clone()];
    let site = Site::new(&services);
    let mut maps = site.tables.maps().clone();
    configure(&mut maps, service, flags);
    check(&mut Site { tables: MemoryTables::new(maps), ..site });
    privileged!();
    for transmit in [true, false] {
        let mut kernel = Kernel::new(&services, transmit);
        configure(&mut kernel.maps, service, flags);
        check(&mut kernel);
    }
}

#[track_caller]
fn expect(balancer: &mut dyn Balancer, packet: &[u8], fate: Fate, expected: &[u8]) {
    let (found, after) = balancer.run(packet);
    assert_eq!(found, fate);
    assert_eq!(after, expected, "\n{after:02x?}\n{expected:02x?}");
}

/// A packet over IPv4 or IPv6 with this payload.
fn packet(src: SocketAddr, dst: SocketAddr, hops: u8, number: IpNumber, payload: &[u8]) -> Vec<u8> {
    let frame = Frame { hops, payload: vec![], ..Frame::new(src, dst, Kind::Datagram) };
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(frame.headers_for(payload.len(), number.0));
    let mut bytes = Vec::new();
    builder.write(&mut bytes, number, payload).expect("memory takes any packet");
    bytes
}

/// A packet of SCTP with one chunk, and the checksum over all of it (RFC 9260, section 6.8).
fn sctp(src: SocketAddr, dst: SocketAddr, hops: u8, chunk: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(src.port().to_be_bytes());
    payload.extend(dst.port().to_be_bytes());
    payload.extend([0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, chunk, 0, 0, 20]);
    payload.extend((0..16).map(|byte| byte * 7));
    let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&payload);
    payload[8..12].copy_from_slice(&sum.to_le_bytes());
    packet(src, dst, hops, IpNumber::SCTP, &payload)
}

#[test]
fn row_17_sctp_goes_to_its_endpoint_with_a_right_checksum() {
    for family in [0, 1] {
        let [client, vip, backend] = [CLIENT[family], VIP[family], BACKENDS[family][0]].map(addr);
        everywhere(&virtual_of(family, proto::SCTP), 0, |balancer| {
            // Nothing but INIT opens an association.
            expect(balancer, &sctp(client, vip, 64, DATA), Fate::Passed, &sctp(client, vip, 64, DATA));
            for chunk in [INIT, DATA, ABORT] {
                let there = sctp(client, backend, 64, chunk);
                expect(balancer, &sctp(client, vip, 64, chunk), Fate::Passed, &there);
                let back = if chunk == INIT { INIT_ACK } else { chunk };
                let shown = sctp(vip, client, 64, back);
                expect(balancer, &sctp(backend, client, 64, back), Fate::Passed, &shown);
            }
        });
    }
}

#[test]
fn row_28_direct_return_sends_the_packet_as_it_came_inside_of_another() {
    for family in [0, 1] {
        let [client, vip, backend, node] =
            [CLIENT[family], VIP[family], BACKENDS[family][0], NODE[family]].map(addr);
        let inside = [IpNumber::IPV4, IpNumber::IPV6][family];
        everywhere(&virtual_of(family, proto::TCP), SERVICE_EXTERNAL | SERVICE_DSR, |balancer| {
            for kind in [Kind::Syn, Kind::Ack, Kind::Fin] {
                let frame = Frame::new(client, vip, kind);
                let inner = frame.forwarded().bytes()[L3..].to_vec();
                let mut outer = packet(node, backend, 64, inside, &inner);
                if family == 0 {
                    dont_fragment(&mut outer);
                }
                expect(balancer, &frame.bytes(), Fate::Sent, &outer);
            }
        });
    }
}

/// Sets the bit of an IPv4 packet without options, and its header's checksum.
fn dont_fragment(packet: &mut [u8]) {
    packet[L3 + 6] = 0x40;
    packet[L3 + 10..L3 + 12].fill(0);
    let words = packet[L3..L3 + 20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[L3 + 10..L3 + 12].copy_from_slice(&folded.to_be_bytes());
}

#[test]
fn row_29_xdp_forwards_and_returns_without_the_stack() {
    privileged!();
    for family in [0, 1] {
        let [client, vip, backend, node] =
            [CLIENT[family], VIP[family], BACKENDS[family][0], NODE[family]].map(addr);
        let service = virtual_of(family, proto::TCP);
        let mut kernel = Kernel::new(std::slice::from_ref(&service), true);
        configure(&mut kernel.maps, &service, SERVICE_EXTERNAL);
        let (fate, sent) = kernel.run(&Frame::new(client, vip, Kind::Syn).bytes());
        assert_eq!((fate, kernel.early), (Fate::Sent, 1));
        let sliced = SlicedPacket::from_ethernet(&sent).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("{sent:02x?}") };
        let masked = SocketAddr::new(node.ip(), tcp.source_port());
        let there = Frame::new(masked, backend, Kind::Syn);
        assert_eq!(sent, there.forwarded().bytes());
        let back = there.reply(Kind::SynAck);
        let shown = Frame::new(vip, client, Kind::SynAck).forwarded();
        expect(&mut kernel, &back.bytes(), Fate::Sent, &shown.bytes());
        for kind in [Kind::Ack, Kind::Ack, Kind::Fin] {
            let next = Frame::new(client, vip, kind);
            let there = Frame { kind, ..there.clone() }.forwarded();
            expect(&mut kernel, &next.bytes(), Fate::Sent, &there.bytes());
        }
        assert_eq!(kernel.early, 5);
    }
}

/// "Fragmentation needed" or "packet too big", about the first bytes of a packet.
fn too_big(from: SocketAddr, about: &Frame, hops: u8) -> Vec<u8> {
    let quoted = &about.bytes()[L3..L3 + if about.src.is_ipv4() { 28 } else { 60 }];
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1);
    let mut bytes = Vec::new();
    let frame = Frame { hops, ..Frame::new(from, about.src, Kind::Datagram) };
    let (v4, number) = (about.src.is_ipv4(), if about.src.is_ipv4() { proto::ICMP } else { proto::ICMPV6 });
    let step = builder.ip(frame.headers_for(8 + quoted.len(), number));
    if v4 {
        let kind = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1300 };
        step.icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(kind)).write(&mut bytes, quoted)
    } else {
        step.icmpv6(etherparse::Icmpv6Type::PacketTooBig { mtu: 1300 }).write(&mut bytes, quoted)
    }
    .expect("memory takes any packet");
    bytes
}

/// The client learns about a packet that it sent to the service, as if the service had said so: the
/// kernel's own translation hides a router behind it in the same way.
#[test]
fn row_31_errors_about_translated_packets_reach_who_sent_them() {
    for family in [0, 1] {
        let [client, vip, backend, router] =
            [CLIENT[family], VIP[family], BACKENDS[family][0], ROUTER[family]].map(addr);
        everywhere(&virtual_of(family, proto::TCP), 0, |balancer| {
            let open = Frame::new(client, vip, Kind::Syn);
            expect(balancer, &open.bytes(), Fate::Passed, &open.to(backend).bytes());
            let long = Frame { kind: Kind::Ack, payload: vec![7; 1200], ..open };
            let error = too_big(router, &long.to(backend), 64);
            let (fate, after) = balancer.run(&error);
            assert_eq!(fate, Fate::Passed);
            let expected = too_big(vip, &long, 64);
            assert_eq!(after, expected, "\n{after:02x?}\n{expected:02x?}");
            // The other way: about what the backend sent, for the backend.
            let answer =
                Frame { kind: Kind::Ack, payload: vec![7; 1200], ..Frame::new(vip, client, Kind::Ack) };
            let error = too_big(router, &answer, 64);
            let (fate, after) = balancer.run(&error);
            assert_eq!(fate, Fate::Passed);
            let own = Frame { src: backend, ..answer };
            let expected = too_big(router, &own, 64);
            assert_eq!(after, expected, "\n{after:02x?}\n{expected:02x?}");
        });
    }
}

#[test]
fn echo_to_a_virtual_address_is_answered() {
    let service = virtual_of(0, proto::TCP);
    let [client, vip] = [CLIENT[0], VIP[0]].map(addr);
    let echo = |from: SocketAddr, to: SocketAddr, reply: bool| {
        let frame = Frame::new(from, to, Kind::Datagram);
        let step = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(frame.headers_for(8 + 16, proto::ICMP));
        let mut bytes = Vec::new();
        let step = if reply { step.icmpv4_echo_reply(7, 1) } else { step.icmpv4_echo_request(7, 1) };
        step.write(&mut bytes, &[9; 16]).expect("memory takes any packet");
        bytes
    };
    everywhere(&service, 0, |balancer| {
        // Without an address that is known, it is somebody else's.
        let asked = echo(client, vip, false);
        expect(balancer, &asked, Fate::Passed, &asked);
    });
    let site = Site::new(std::slice::from_ref(&service));
    let mut maps = site.tables.maps().clone();
    maps.put_address(&vip.ip().into(), seaway_common::ADDRESS_CLUSTER_IP).unwrap();
    let mut site = Site { tables: MemoryTables::new(maps), ..site };
    let mut answered = echo(vip, client, true);
    answered[..12].copy_from_slice(&[MACS.0, MACS.1].concat());
    let (fate, after) = site.run(&echo(client, vip, false));
    assert_eq!((fate, &after), (Fate::Sent, &answered));
}

/// Both ways, TCP and UDP: the client's packets become the other family's, from the node, and back.
#[test]
fn row_33_clients_of_one_family_reach_endpoints_of_the_other() {
    for (family, proto) in [(0, proto::TCP), (0, proto::UDP), (1, proto::TCP), (1, proto::UDP)] {
        let [client, vip] = [CLIENT[family], VIP[family]].map(addr);
        let [backend, node] = [BACKENDS[1 - family][0], NODE[1 - family]].map(addr);
        let service = Virtual { vip, proto, backends: vec![backend] };
        let [open, answer] =
            if proto == proto::UDP { [Kind::Datagram; 2] } else { [Kind::Syn, Kind::SynAck] };
        everywhere(&service, SERVICE_EXTERNAL | SERVICE_CROSS, |balancer| {
            let (fate, sent) = balancer.run(&Frame::new(client, vip, open).bytes());
            assert_eq!(fate, Fate::Sent, "{sent:02x?}");
            let sliced = SlicedPacket::from_ethernet(&sent).unwrap();
            let port = match sliced.transport {
                Some(TransportSlice::Tcp(tcp)) => tcp.source_port(),
                Some(TransportSlice::Udp(udp)) => udp.source_port(),
                _ => panic!("{sent:02x?}"),
            };
            let there = Frame::new(SocketAddr::new(node.ip(), port), backend, open);
            assert_eq!(sent, there.forwarded().bytes(), "{sent:02x?}");
            let shown = Frame::new(vip, client, answer).forwarded();
            expect(balancer, &there.reply(answer).bytes(), Fate::Sent, &shown.bytes());
            if proto == proto::TCP {
                for kind in [Kind::Ack, Kind::Fin] {
                    let next = Frame { kind, ..there.clone() }.forwarded();
                    expect(balancer, &Frame::new(client, vip, kind).bytes(), Fate::Sent, &next.bytes());
                }
            }
        });
    }
}

/// What `IpHeaders` says is what the packets have.
#[test]
fn fixtures_are_whole() {
    let bytes = sctp(addr(CLIENT[0]), addr(VIP[0]), 64, INIT);
    let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
    let (headers, _) = IpHeaders::from_slice(&bytes[L3..]).unwrap();
    assert!(sliced.net.is_some() && headers.next_header().is_ok_and(|next| next == IpNumber::SCTP));
}
