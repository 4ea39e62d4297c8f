//! Properties of translation over all addresses, ports and payloads.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use proptest::{collection::vec, prelude::*};
use seaway_common::{Addr, proto};
use seaway_ebpf::Verdict;
use seaway_tests::{
    frame::{Frame, Kind},
    site::{Site, Virtual, openings, services},
};

fn socket(v4: bool) -> impl Strategy<Value = SocketAddr> {
    let ip = if v4 {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    } else {
        // Mapped addresses are another family's.
        any::<[u8; 16]>()
            .prop_map(|mut ip| {
                ip[0] |= 0x20;
                IpAddr::from(ip)
            })
            .boxed()
    };
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

/// A client, a service and a backend that all differ.
fn sockets() -> impl Strategy<Value = [SocketAddr; 3]> {
    let three = any::<bool>().prop_flat_map(|v4| [socket(v4), socket(v4), socket(v4)]);
    three
        .prop_filter("all differ", |[a, b, c]| a.ip() != b.ip() && b.ip() != c.ip() && a.ip() != c.ip())
        .prop_filter("a client's address", |[client, ..]| Addr::from(client.ip()).is_unicast())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1400)
}

proptest! {
    /// What the incremental update makes of the checksums is what `etherparse` sums up anew.
    #[test]
    fn there_and_back_again(
        [client, vip, backend] in sockets(),
        udp: bool,
        there in payload(),
        back in payload(),
        words in 0usize..=10,
    ) {
        // Nobody answers such an address through a router.
        prop_assume!(!matches!(client.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local()));
        let proto = if udp { proto::UDP } else { proto::TCP };
        let site = Site::new(&[Virtual { vip, proto, backends: vec![backend] }]);
        let [open, answer] = if udp { [Kind::Datagram; 2] } else { [Kind::Syn, Kind::SynAck] };
        let options = if client.is_ipv4() { vec![1; 4 * words] } else { vec![] };
        let open = Frame { payload: there, options, ..Frame::new(client, vip, open) };
        site.check(&open, &open.to(backend));
        let answer = Frame { payload: back, ..open.reply(answer) };
        site.check(&Frame { src: backend, ..answer.clone() }, &answer);
        prop_assert_eq!(site.flows(), 2);
    }

    /// No bytes make it panic, and it changes only what it says it translated.
    #[test]
    fn arbitrary_bytes_are_survived(bytes in vec(any::<u8>(), 0..200), v4: bool) {
        let site = Site::new(&services(2));
        let mut packet = bytes;
        if packet.len() > 14 {
            packet[12..14].copy_from_slice(if v4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
            packet[14] = packet[14] & 0xf | if v4 { 0x40 } else { 0x60 };
        }
        let before = packet.clone();
        if !matches!(site.send(&mut packet), Ok(Verdict::Translated | Verdict::Transmit(_))) {
            prop_assert_eq!(packet, before);
        }
    }

    /// The same for packets that are almost right: some bytes of a good one are others.
    #[test]
    fn damaged_packets_are_survived(
        which in 0usize..4,
        damage in vec((0usize..90, any::<u8>()), 1..4),
        cut in 0usize..90,
    ) {
        let site = Site::new(&services(2));
        let mut packet = openings()[which].0.bytes();
        for (at, byte) in damage {
            if let Some(target) = packet.get_mut(at) {
                *target = byte;
            }
        }
        packet.truncate(cut.max(1));
        let before = packet.clone();
        if !matches!(site.send(&mut packet), Ok(Verdict::Translated | Verdict::Transmit(_))) {
            prop_assert_eq!(packet, before);
        }
    }
}
