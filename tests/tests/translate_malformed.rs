//! Packets that end early, contradict themselves or are none of TCP and UDP: never touched.

#![forbid(unsafe_code)]

use seaway_common::{Action, Reason};
use seaway_ebpf::{Stage, Verdict, translate};
use seaway_harness::MemoryTables;
use seaway_tests::{
    frame::{Frame, Kind, L3},
    site::{CLIENT, Site, VIP, addr, openings, services},
};

/// The openings, and one with IPv4 options.
fn frames() -> Vec<Frame> {
    let options = vec![1, 1, 1, 0];
    let mut frames: Vec<_> = openings().into_iter().map(|(frame, ..)| frame).collect();
    frames.push(Frame { options, ..frames[0].clone() });
    frames
}

/// The client's first packet over IPv4 or IPv6, after a change of its bytes.
#[track_caller]
fn check(family: usize, kind: Kind, change: impl FnOnce(&mut Vec<u8>), expected: Result<Verdict, Reason>) {
    let site = Site::new(&services(1));
    let mut bytes = Frame::new(addr(CLIENT[family]), addr(VIP[family]), kind).bytes();
    change(&mut bytes);
    site.check_untouched(&bytes, expected);
    assert_eq!(site.flows(), 0);
}

#[test]
fn packet_that_ends_early_is_untouched_at_every_length() {
    let site = Site::new(&services(1));
    for frame in frames() {
        let whole = frame.bytes();
        for length in 0..whole.len() {
            site.check_untouched(&whole[..length], Err(Reason::Truncated));
        }
    }
    assert_eq!(site.flows(), 0);
    assert_eq!(Reason::Truncated.action(), Action::Pass);
}

#[test]
fn trailing_bytes_of_a_short_frame_are_kept() {
    let site = Site::new(&services(1));
    for (frame, backend, _) in openings() {
        let padded = |frame: &Frame| [frame.bytes(), vec![0xab; 12]].concat();
        let mut packet = padded(&frame);
        assert_eq!(site.send(&mut packet), Ok(Verdict::Translated));
        assert_eq!(packet, padded(&frame.to(backend)));
    }
}

#[test]
fn contradictions_in_headers_are_bad() {
    let bad = Err(Reason::BadHeader);
    for kind in [Kind::Syn, Kind::Datagram] {
        check(0, kind, |bytes| bytes[L3] = 0x65, bad);
        check(0, kind, |bytes| bytes[L3] = 0x44, bad);
        check(0, kind, |bytes| bytes[L3] = 0x40, bad);
        check(0, kind, |bytes| bytes[L3 + 2..L3 + 4].copy_from_slice(&[0, 19]), bad);
        check(0, kind, |bytes| bytes[L3 + 2..L3 + 4].copy_from_slice(&[0, 27]), bad);
        check(0, kind, |bytes| bytes[L3] = 0x4f, bad);
        check(1, kind, |bytes| bytes[L3] = 0x40, bad);
        check(1, kind, |bytes| bytes[L3 + 4..L3 + 6].copy_from_slice(&[0, 7]), bad);
        check(1, kind, |bytes| bytes[L3 + 4..L3 + 6].fill(0), bad);
    }
    check(0, Kind::Syn, |bytes| bytes[L3 + 2..L3 + 4].copy_from_slice(&[0, 39]), bad);
    check(1, Kind::Syn, |bytes| bytes[L3 + 4..L3 + 6].copy_from_slice(&[0, 19]), bad);
    assert_eq!(Reason::BadHeader.action(), Action::Pass);
}

#[test]
fn length_beyond_the_packet_is_truncated() {
    for kind in [Kind::Syn, Kind::Datagram] {
        check(0, kind, |bytes| bytes[L3 + 3] += 1, Err(Reason::Truncated));
        check(0, kind, |bytes| bytes[L3 + 2] = 0xff, Err(Reason::Truncated));
        check(1, kind, |bytes| bytes[L3 + 5] += 1, Err(Reason::Truncated));
        check(1, kind, |bytes| bytes[L3 + 4] = 0xff, Err(Reason::Truncated));
    }
}

/// IPv4: more fragments; an offset; both.
const FRAGMENT_BITS: [[u8; 2]; 3] = [[0x20, 0], [0, 2], [0x20, 2]];

#[test]
fn fragment_whose_first_was_not_seen_goes_to_the_kernel() {
    for kind in [Kind::Syn, Kind::Datagram] {
        for bits in &FRAGMENT_BITS[1..] {
            check(0, kind, |bytes| bytes[L3 + 6..L3 + 8].copy_from_slice(bits), Err(Reason::Fragment));
        }
    }
    assert_eq!(Reason::Fragment.action(), Action::Pass);
}

#[test]
fn fragments_follow_their_first_one() {
    let site = Site::new(&services(3));
    site.tables.set_randoms([u32::MAX]);
    let (frame, _, _) = openings().swap_remove(1);
    let backend = addr("10.1.1.114:80");
    let part = |frame: &Frame, bits: [u8; 2]| {
        let mut bytes = frame.bytes();
        // Its sums do not cover the bits; the header's does.
        bytes[L3 + 6..L3 + 8].copy_from_slice(&bits);
        bytes[L3 + 10..L3 + 12].fill(0);
        let words =
            bytes[L3..L3 + 20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        bytes[L3 + 10..L3 + 12].copy_from_slice(&folded.to_be_bytes());
        bytes
    };
    let mut first = part(&frame, FRAGMENT_BITS[0]);
    assert_eq!(site.send(&mut first), Ok(Verdict::Translated));
    assert_eq!(first, part(&frame.to(backend), FRAGMENT_BITS[0]));
    for bits in &FRAGMENT_BITS[1..] {
        let mut later = part(&frame, *bits);
        let before = later.clone();
        assert_eq!(site.send(&mut later), Ok(Verdict::Translated));
        // Without ports: only the network header changes.
        assert_eq!(later[..L3 + 20], part(&frame.to(backend), *bits)[..L3 + 20]);
        assert_eq!(later[L3 + 20..], before[L3 + 20..]);
    }
    site.tables.pass(31 * MemoryTables::TICKS_PER_S);
    site.check_untouched(&part(&frame, FRAGMENT_BITS[1]), Err(Reason::Fragment));
}

#[test]
fn packet_that_must_not_be_fragmented_is_none() {
    let site = Site::new(&services(1));
    let (frame, ..) = openings().swap_remove(0);
    let mut packet = frame.bytes();
    packet[L3 + 6] = 0x40;
    assert_eq!(site.send(&mut packet), Ok(Verdict::Translated));
}

#[test]
fn other_protocols_are_not_ours() {
    let (not_ours, bad) = (Ok(Verdict::NotOurs), Err(Reason::BadHeader));
    for kind in [Kind::Syn, Kind::Datagram] {
        for protocol in [0, 1, 4, 41, 47, 50, 255] {
            check(0, kind, |bytes| bytes[L3 + 9] = protocol, not_ours);
        }
        // SCTP of which no chunk is left.
        check(0, kind, |bytes| bytes[L3 + 9] = 132, if kind == Kind::Syn { not_ours } else { bad });
        // Extension headers: hop-by-hop, routing, fragment, destination options; then ICMP, none.
        // What follows is taken for a header that is longer than is followed.
        for next in [0, 43, 60] {
            check(1, kind, |bytes| bytes[L3 + 6] = next, Err(Reason::Unfollowed));
        }
        for next in [44, 58, 59] {
            check(1, kind, |bytes| bytes[L3 + 6] = next, not_ours);
        }
        for ethertype in [[0x08, 0x06], [0x81, 0x00], [0x88, 0xa8], [0x88, 0xcc], [0, 64]] {
            check(0, kind, |bytes| bytes[12..14].copy_from_slice(&ethertype), not_ours);
            check(1, kind, |bytes| bytes[12..14].copy_from_slice(&ethertype), not_ours);
        }
    }
}

#[test]
fn ipv4_options_of_every_length_are_kept() {
    for words in 0..=10 {
        let site = Site::new(&services(1));
        for (frame, backend, _) in openings().into_iter().filter(|(frame, ..)| frame.src.is_ipv4()) {
            let frame = Frame { options: vec![1; 4 * words], ..frame };
            site.check(&frame, &frame.to(backend));
            let answer = if frame.kind == Kind::Syn { Kind::SynAck } else { Kind::Datagram };
            site.check(&frame.to(backend).reply(answer), &frame.reply(answer));
        }
    }
}

#[test]
fn absent_udp_checksum_stays_absent() {
    let site = Site::new(&services(1));
    for (frame, backend, _) in openings().into_iter().filter(|(frame, ..)| frame.kind == Kind::Datagram) {
        let mut packet = frame.bytes_without_checksum();
        assert_eq!(site.send(&mut packet), Ok(Verdict::Translated));
        assert_eq!(packet, frame.to(backend).bytes_without_checksum());
    }
}

#[test]
fn udp_checksum_that_becomes_zero_is_sent_as_all_ones() {
    let site = Site::new(&services(1));
    for (frame, backend, _) in openings().into_iter().filter(|(frame, ..)| frame.kind == Kind::Datagram) {
        let at = frame.checksum_at();
        let of_sum_zero = (0..=u16::MAX)
            .map(|word| Frame { payload: word.to_be_bytes().to_vec(), ..frame.clone() })
            .find(|frame| frame.to(backend).bytes()[at..at + 2] == [0xff, 0xff])
            .expect("every sum has a word that makes it zero");
        site.check(&of_sum_zero, &of_sum_zero.to(backend));
    }
}

/// Puts an extension header in front of the transport header of an IPv6 packet.
fn extend(bytes: &mut Vec<u8>, kind: u8, mut body: Vec<u8>) {
    let len = u16::from_be_bytes([bytes[L3 + 4], bytes[L3 + 5]]) + u16::try_from(body.len()).unwrap();
    bytes[L3 + 4..L3 + 6].copy_from_slice(&len.to_be_bytes());
    body[0] = std::mem::replace(&mut bytes[L3 + 6], kind);
    bytes.splice(L3 + 40..L3 + 40, body);
}

/// Destination options of this length, which contain what looks like ports and flags at their start.
fn options(len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    body[1] = u8::try_from(len / 8 - 1).unwrap();
    body[2..4].copy_from_slice(&8080u16.to_be_bytes());
    if len > 13 {
        body[13] = 2;
    }
    body
}

#[test]
fn a_header_chain_is_followed_to_its_end_or_not_at_all() {
    const DESTINATION_OPTIONS: u8 = 60;
    for len in (8..=2048).step_by(8) {
        // One header, and as much in three.
        for parts in [vec![len], vec![len - len / 16 * 8, len / 16 * 8]] {
            let parts: Vec<_> = parts.into_iter().filter(|len| *len != 0).collect();
            let frame = Frame::new(addr(CLIENT[1]), addr(VIP[1]), Kind::Syn);
            let extended = |frame: &Frame| {
                let mut bytes = frame.bytes();
                parts.iter().for_each(|len| extend(&mut bytes, DESTINATION_OPTIONS, options(*len)));
                bytes
            };
            let site = Site::new(&services(1));
            if L3 + 40 + len > 511 {
                site.check_untouched(&extended(&frame), Err(Reason::Unfollowed));
                // Nor is anything read from the middle of it.
                site.check_untouched(
                    &extended(&Frame { dst: (frame.dst.ip(), 9).into(), ..frame }),
                    Err(Reason::Unfollowed),
                );
                assert_eq!(site.flows(), 0);
                continue;
            }
            let mut packet = extended(&frame);
            assert_eq!(site.send(&mut packet), Ok(Verdict::Translated), "{len} bytes");
            assert_eq!(packet, extended(&frame.to(addr("[fd77:1::11]:80"))), "{len} bytes");
        }
    }
    assert_eq!(Reason::Unfollowed.action(), Action::Pass);
}

#[test]
fn packets_that_have_not_come_to_their_destination_are_not_followed() {
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    let unfollowed = Err(Reason::Unfollowed);
    check(1, Kind::Syn, |bytes| extend(bytes, ROUTING, vec![0, 0, 4, 1, 0, 0, 0, 0]), unfollowed);
    // A fragment of a fragment: the outer one is incomplete, whatever the inner one says.
    for outer in [[0, 1], [0, 0]] {
        let twice = |bytes: &mut Vec<u8>| {
            extend(bytes, FRAGMENT, vec![0; 8]);
            extend(bytes, FRAGMENT, vec![0, 0, outer[0], outer[1], 0, 0, 0, 1]);
        };
        check(1, Kind::Datagram, twice, unfollowed);
    }
    let site = Site::new(&services(1));
    let route = |kind| vec![1, kind, 7, 4, 192, 0, 2, 1];
    for (options, expected) in [
        (route(131), unfollowed),
        (route(137), unfollowed),
        (vec![7, 3, 4, 0], Ok(Verdict::Translated)),
        (vec![7, 5, 4, 0], unfollowed),
        (vec![7, 1, 4, 0], unfollowed),
        (vec![1, 1, 1, 7], unfollowed),
        (vec![0, 131, 7, 4], Ok(Verdict::Translated)),
    ] {
        let frame =
            Frame { options: options.clone(), ..Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn) };
        let mut packet = frame.bytes();
        assert_eq!(site.send(&mut packet), expected, "{options:?}");
        assert!(expected.is_ok() || packet == frame.bytes());
    }
}

#[test]
fn a_mapped_address_over_ipv6_is_a_martian_at_every_stage() {
    let mapped = |text: &str| -> [u8; 16] { text.parse::<std::net::Ipv6Addr>().unwrap().octets() };
    let client = mapped("::ffff:192.0.2.10");
    let vip = mapped("::ffff:10.96.0.80");
    let backend = mapped("::ffff:10.1.1.111");
    for kind in [Kind::Syn, Kind::Datagram, Kind::Rst] {
        for (src, dst) in [
            (None, Some(vip)),
            (Some(client), None),
            (Some(client), Some(vip)),
            (Some(backend), Some(client)),
        ] {
            for stage in [Stage::Early, Stage::Ingress, Stage::Egress] {
                let site = Site::new(&services(1));
                // The IPv4 client has a flow, whose entries a mapped address would find.
                let mut open = Frame::new(addr(CLIENT[0]), addr(VIP[0]), kind).bytes();
                let _opened = site.send(&mut open);
                let flows = site.flows();
                let mut packet = Frame::new(addr(CLIENT[1]), addr(VIP[1]), kind).bytes();
                if let Some(src) = src {
                    packet[L3 + 8..L3 + 24].copy_from_slice(&src);
                }
                if let Some(dst) = dst {
                    packet[L3 + 24..L3 + 40].copy_from_slice(&dst);
                }
                let before = packet.clone();
                let verdict = translate(&mut packet, &site.tables, &site.v4, &site.v6, stage);
                assert_eq!(verdict, Err(Reason::Martian), "{kind:?} {stage:?}");
                assert_eq!((packet, site.flows()), (before, flows));
            }
        }
    }
    assert_eq!(Reason::Martian.action(), Action::Drop);
}

#[test]
fn frames_to_several_stations_are_not_ours() {
    for family in [0, 1] {
        for kind in [Kind::Syn, Kind::Datagram] {
            for link in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                check(family, kind, |bytes| bytes[..6].copy_from_slice(&link), Ok(Verdict::NotOurs));
            }
        }
    }
}
