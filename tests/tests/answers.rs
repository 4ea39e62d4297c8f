//! What the programs answer in the place of others, and what they never answer.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use seaway_common::{Config, Reason};
use seaway_dataplane::Maps;
use seaway_ebpf::{Answer, Stage, answer};
use seaway_harness::{MemoryMaps, MemoryTables};
use seaway_tests::{
    frame::{Frame, Kind, L3},
    site::{CLIENT, VIP, addr},
};

/// The node's own addresses.
const NODE: [&str; 2] = ["192.0.2.1:0", "[2001:db8::1]:0"];
/// Offset of the sequence number, flags in a TCP header.
const SEQ: usize = 4;
const ACKNOWLEDGED: usize = 8;
const FLAGS: usize = 13;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

fn tables(config: Config) -> MemoryTables {
    let mut maps = MemoryMaps::default();
    let [v4, v6] = NODE.map(|node| addr(node).ip().into());
    maps.put_config(&Config { snat_v4: v4, snat_v6: v6, ..config }).unwrap();
    MemoryTables::new(maps)
}

fn frame(family: usize, kind: Kind) -> Frame {
    Frame::new(addr(CLIENT[family]), addr(VIP[family]), kind)
}

/// The answer to a packet, its sums proved.
fn answered(packet: &[u8], what: Answer) -> Result<Vec<u8>, Reason> {
    let mut packet = packet.to_vec();
    answer(&mut packet, &tables(Config::new()), what, 1300, Stage::Ingress)?;
    check_sums(&packet);
    Ok(packet)
}

#[track_caller]
fn check_sums(packet: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(packet).unwrap();
    let (v4, v6) = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => (Some(ip.header().to_header()), None),
        NetSlice::Ipv6(ip) => (None, Some(ip.header().to_header())),
        _ => panic!("an IP packet"),
    };
    if let Some(ip) = &v4 {
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    }
    match sliced.transport.unwrap() {
        TransportSlice::Tcp(tcp) => {
            let header = tcp.to_header();
            let right = match (&v4, &v6) {
                (Some(ip), _) => header.calc_checksum_ipv4(ip, tcp.payload()),
                (_, Some(ip)) => header.calc_checksum_ipv6(ip, tcp.payload()),
                _ => unreachable!(),
            };
            assert_eq!(header.checksum, right.unwrap());
        }
        TransportSlice::Icmpv4(icmp) => {
            let header = icmp.header();
            assert_eq!(header.checksum, header.icmp_type.calc_checksum(icmp.payload()));
        }
        TransportSlice::Icmpv6(icmp) => {
            let ip = v6.unwrap();
            let right = icmp.header().icmp_type.calc_checksum(ip.source, ip.destination, icmp.payload());
            assert_eq!(icmp.header().checksum, right.unwrap());
        }
        other => panic!("{other:?}"),
    }
}

/// Sequence number, acknowledgment and flags of a TCP packet.
fn tcp(packet: &[u8], l4: usize) -> (u32, u32, u8) {
    let word = |at: usize| u32::from_be_bytes(packet[l4 + at..l4 + at + 4].try_into().unwrap());
    (word(SEQ), word(ACKNOWLEDGED), packet[l4 + FLAGS])
}

/// RFC 9293, section 3.10.7.1.
#[test]
fn a_reset_is_what_the_sender_takes_for_its_own() {
    const OURS: u32 = 0xffff_fffe;
    const THEIRS: u32 = 77;
    for family in [0, 1] {
        for (flags, len, expected) in [
            (SYN, 0, (0, OURS.wrapping_add(1), RST | ACK)),
            (SYN, 5, (0, OURS.wrapping_add(6), RST | ACK)),
            (FIN, 10, (0, OURS.wrapping_add(11), RST | ACK)),
            (0, 10, (0, OURS.wrapping_add(10), RST | ACK)),
            (ACK, 10, (THEIRS, 0, RST)),
            (SYN | ACK, 0, (THEIRS, 0, RST)),
            (PSH | FIN | ACK, 10, (THEIRS, 0, RST)),
        ] {
            let frame = Frame { payload: vec![1; len], ..frame(family, Kind::Syn) };
            let mut bytes = frame.bytes();
            bytes[frame.l4() + SEQ..][..4].copy_from_slice(&OURS.to_be_bytes());
            bytes[frame.l4() + ACKNOWLEDGED..][..4].copy_from_slice(&THEIRS.to_be_bytes());
            bytes[frame.l4() + FLAGS] = flags;
            // What fills up a short frame is not of the segment.
            bytes.extend([0; 9]);
            let reset = answered(&bytes, Answer::Refused).unwrap();
            assert_eq!(tcp(&reset, frame.l4()), expected, "{flags:#x} with {len} bytes");
            assert_eq!(reset.len(), frame.l4() + 20);
            assert_eq!(reset[..12], [&bytes[6..12], &bytes[..6]].concat());
        }
        for flags in [RST, RST | ACK, RST | SYN] {
            let mut bytes = frame(family, Kind::Rst).bytes();
            bytes[frame(family, Kind::Rst).l4() + FLAGS] = flags;
            assert_eq!(answered(&bytes, Answer::Refused), Err(Reason::NoFlow));
        }
    }
}

#[test]
fn an_exceeded_time_is_told_from_the_nodes_own_address() {
    for (family, kind) in [(0, 11), (1, 3)] {
        let frame = Frame { hops: 1, ..frame(family, Kind::Datagram) };
        let told = answered(&frame.bytes(), Answer::TimeExceeded).unwrap();
        let l4 = frame.l4();
        assert_eq!(told[l4..l4 + 2], [kind, 0]);
        // The packet as it came, from its network header on.
        let quoted = &told[l4 + 8..];
        assert_eq!(quoted, &frame.bytes()[L3..][..quoted.len()]);
        let from = Frame { src: addr(NODE[family]), ..frame.clone() }.bytes();
        let source = if family == 0 { L3 + 12..L3 + 16 } else { L3 + 8..L3 + 24 };
        assert_eq!(told[source.clone()], from[source]);
    }
}

#[test]
fn senders_that_are_no_single_host_are_not_answered() {
    let from = |src: &str| -> SocketAddr { src.parse().unwrap() };
    for (family, sources) in [
        (0, &["0.0.0.0:7", "127.0.0.1:7", "224.0.0.1:7", "240.0.0.1:7", "255.255.255.255:7", VIP[0]][..]),
        (1, &["[::]:7", "[::1]:7", "[ff02::1]:7", VIP[1]][..]),
    ] {
        for kind in [Kind::Syn, Kind::Ack, Kind::Datagram] {
            for what in [Answer::Refused, Answer::TooBig, Answer::TimeExceeded] {
                for source in sources {
                    let bytes = Frame { src: from(source), ..frame(family, kind) }.bytes();
                    assert_eq!(answered(&bytes, what), Err(Reason::BadSource), "{source} {kind:?} {what:?}");
                }
                for link in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                    let mut bytes = frame(family, kind).bytes();
                    bytes[..6].copy_from_slice(&link);
                    assert_eq!(answered(&bytes, what), Err(Reason::BadHeader), "{link:?} {kind:?} {what:?}");
                }
                assert!(answered(&frame(family, kind).bytes(), what).is_ok(), "{kind:?} {what:?}");
            }
        }
    }
}

#[test]
fn later_fragments_and_errors_are_not_answered() {
    let mut later = frame(0, Kind::Datagram).bytes();
    later[L3 + 7] = 1;
    assert_eq!(answered(&later, Answer::Refused), Err(Reason::Fragment));
    for (family, number, kinds) in [(0, 1, &[3, 4, 5, 11, 12, 0][..]), (1, 58, &[1, 2, 3, 4, 129, 137][..])] {
        for kind in kinds {
            let frame = frame(family, Kind::Datagram);
            let mut bytes = frame.bytes();
            bytes[L3 + if family == 0 { 9 } else { 6 }] = number;
            bytes[frame.l4()] = *kind;
            for what in [Answer::Refused, Answer::TimeExceeded, Answer::TooBig] {
                assert_eq!(answered(&bytes, what), Err(Reason::Unfollowed), "type {kind}");
            }
        }
    }
}

#[test]
fn errors_to_one_host_are_limited_and_resets_are_not() {
    let count = |tables: &MemoryTables, frame: &Frame, what| {
        (0..100).filter(|_| answer(&mut frame.bytes(), tables, what, 1300, Stage::Ingress).is_ok()).count()
    };
    for family in [0, 1] {
        for what in [Answer::Refused, Answer::TimeExceeded] {
            let tables = tables(Config::new());
            let datagram = frame(family, Kind::Datagram);
            assert_eq!(count(&tables, &datagram, what), 6);
            let mut again = datagram.bytes();
            assert_eq!(answer(&mut again, &tables, what, 0, Stage::Ingress), Err(Reason::Limited));
            tables.pass(3 * MemoryTables::TICKS_PER_S);
            assert_eq!(count(&tables, &datagram, what), 3);
            // Another host is told all the same.
            let other = Frame { src: addr(["192.0.2.11:1", "[2001:db8::11]:1"][family]), ..datagram.clone() };
            assert_eq!(count(&tables, &other, what), 6);
            assert_eq!(count(&tables, &datagram, Answer::TooBig), 100);
            assert_eq!(count(&tables, &frame(family, Kind::Syn), Answer::Refused), 100);
        }
        let unlimited = tables(Config { icmp_ratelimit_ms: 0, ..Config::new() });
        assert_eq!(count(&unlimited, &frame(family, Kind::Datagram), Answer::Refused), 100);
    }
}
