//! The way to the endpoint: neighbours, MTU, source addresses, offloads of UDP.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use seaway_harness::privileged;
use seaway_lab::{
    Topology,
    probe::{Outcome, Probe, Transport},
};
use seaway_tests::nodes::{
    case::{Case, DNS, From, NODE_DNS, NODE_WEB, WEB, node_port, pod, vip, web_at},
    packets::{self, Sender},
};

const PATIENCE_MS: u64 = 5000;

/// A datagram without "don't fragment" that does not fit is fragmented (RFC 1812, 5.2.6); with it the
/// sender is told.
#[test]
fn row_05_mtu_df0() {
    privileged!();
    const SHORT: u32 = 1400;
    let case = Case::new(&[1]);
    case.node().set_mtu("p1", SHORT).unwrap();
    case.pod(1).namespace.set_mtu("eth0", SHORT).unwrap();
    let _agent = case.start();
    let sender = Sender::new((case.client(), "eth0"), (case.node(), Topology::CLIENT_INTERFACE));
    for to in [SocketAddr::new(pod(1)[0], DNS), node_port(0, NODE_DNS), vip(0, DNS)] {
        let bind = || std::net::UdpSocket::bind((Topology::CLIENT[0], 0));
        let socket = case.client().run(bind).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).unwrap();
        // Written by hand: a socket's datagrams have the flag as the path is known.
        let packet = packets::udp(socket.local_addr().unwrap(), to, &[b'z'; 1450]);
        sender.send(&packet);
        let answer = socket.recv(&mut [0; 2000]);
        assert_eq!(answer.ok(), Some(1450), "{to}\n{}", case.topology.node.firewall_counters());

        let mut whole = packet;
        whole[6] |= 0x40;
        let header = etherparse::Ipv4Header::from_slice(&whole).unwrap().0;
        whole[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
        sender.send(&whole);
        let told = sender.socket.receive(Duration::from_millis(PATIENCE_MS), packets::is_icmp_error).unwrap();
        let told =
            told.unwrap_or_else(|| panic!("{to}: nothing about a datagram that must not be fragmented"));
        let mtu = packets::payload(&told)[26..28].try_into().map(u16::from_be_bytes).unwrap();
        assert_eq!(u32::from(mtu), SHORT, "{to}");
    }
    for from in [From::Pod(3), From::Machine(3)] {
        case.check_served(from, Transport::Udp, vip(0, DNS));
    }
}

/// A datagram that has one hop left is not forwarded, and its sender is told.
#[test]
fn row_13_fragments_ttl1() {
    privileged!();
    let case = Case::new(&[1]);
    let _agent = case.start();
    let sender = Sender::new((case.client(), "eth0"), (case.node(), Topology::CLIENT_INTERFACE));
    for family in 0..2 {
        let from = SocketAddr::new(Topology::CLIENT[family], 5000);
        let mut packet = packets::udp(from, node_port(family, NODE_DNS), b"q");
        if family == 0 {
            packet[8] = 1;
            let header = etherparse::Ipv4Header::from_slice(&packet).unwrap().0;
            packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
        } else {
            packet[7] = 1;
        }
        sender.send(&packet);
        let told = sender.socket.receive(Duration::from_millis(PATIENCE_MS), packets::is_icmp_error).unwrap();
        let told = told.unwrap_or_else(|| panic!("family {family}: nothing about a packet without hops"));
        let kind = packets::payload(&told)[if family == 0 { 20 } else { 40 }];
        assert_eq!(kind, [11, 3][family], "time exceeded");
    }
}

/// A neighbour whose entry is stale and whose hardware address has changed is asked for.
#[test]
fn row_06_stale_neighbour() {
    privileged!();
    const TRIES: usize = 12;
    /// The kernel tells what it does not know from what is gone after a few seconds.
    const LOST_MAX: usize = 5;
    for policy in ["Cluster", "Local"] {
        let case = Case::new(&[1]);
        case.setup.write(
            "web.yaml",
            &seaway_tests::nodes::case::web(&[1], &format!("  externalTrafficPolicy: {policy}\n")),
        );
        let _agent = case.start();
        // A switch that answers for the node: the client never asks for it again.
        let mac = case.node().mac(Topology::CLIENT_INTERFACE).unwrap();
        case.client().replace_neighbour("eth0", Topology::NODE[0], mac, false).unwrap();
        case.node().set("net/ipv4/neigh/ext0/delay_first_probe_time", "2").unwrap();
        for to in [SocketAddr::new(pod(1)[0], WEB), node_port(0, NODE_WEB)] {
            case.node()
                .replace_neighbour(
                    Topology::CLIENT_INTERFACE,
                    Topology::CLIENT[0],
                    [2, 0, 0, 0, 0, 0x99],
                    true,
                )
                .unwrap();
            let mut prober = case.prober(From::Client);
            let mut lost = 0;
            for _ in 0..TRIES {
                let began = Instant::now();
                let probe = Probe { timeout_ms: 2000, ..Probe::new(Transport::Tcp, to) };
                lost += usize::from(prober.ask(&probe).unwrap().name().is_none());
                std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
            }
            let last = case.ask(From::Client, Transport::Tcp, to);
            assert_eq!(last.name(), Some("p1"), "policy {policy}, {to}: {last:?}");
            assert!(lost <= LOST_MAX, "policy {policy}, {to}: {lost} of {TRIES} lost");
        }
    }
}

/// The endpoint is on another network of the node: the masquerade address is the source of the route.
#[test]
fn row_07_multi_homed() {
    privileged!();
    let mut case = Case::new(&[]);
    let far = Topology::BACKBONE;
    case.setup.write("web.yaml", &web_at(&[(far, Some("n2"))], ""));
    case.setup = case.setup.arguments(["--interface", Topology::SECOND_INTERFACE]);
    // It has no route to where the client is: only the near source comes back.
    let backbone = case.topology.backbone.as_ref().expect("a hostile node has a second uplink");
    let listeners = seaway_lab::echo::Listener {
        name: "far".into(),
        protocol: seaway_lab::echo::Protocol::Tcp,
        address: (far[0], WEB).into(),
    };
    let listener_v6 = seaway_lab::echo::Listener { address: (far[1], WEB).into(), ..listeners.clone() };
    let _server = seaway_lab::echo::serve(backbone, &[listeners, listener_v6]).unwrap();
    let _agent = case.start();
    for family in 0..2 {
        for from in [From::Client, From::Machine(1), From::Pod(1)] {
            let outcome = case.ask(from, Transport::Exchange, node_port(family, NODE_WEB));
            let Outcome::Answered { answer, .. } = &outcome else {
                panic!("{from:?}, family {family}: {outcome:?}\n{}", case.topology.node.firewall_counters())
            };
            assert_eq!(answer.peer.ip(), Topology::SECOND_NODE[family], "{from:?}");
        }
    }
}

/// Segments that are cut by the kernel on the way, of UDP (QUIC) and TCP. Held before; stays so.
#[test]
fn row_22_udp_gso() {
    privileged!();
    for policy in ["Cluster", "Local"] {
        let case = Case::new(&[1]);
        case.setup.write(
            "web.yaml",
            &seaway_tests::nodes::case::web(&[1], &format!("  externalTrafficPolicy: {policy}\n")),
        );
        let _agent = case.start();
        let mut prober = case.prober(From::Client);
        for family in 0..2 {
            for to in [SocketAddr::new(pod(1)[family], DNS), node_port(family, NODE_DNS)] {
                let probe =
                    Probe { size: 1200, timeout_ms: PATIENCE_MS, ..Probe::new(Transport::Segments, to) };
                let outcome = prober.ask(&probe).unwrap();
                assert_eq!(outcome.name(), Some("p1"), "policy {policy}, {to}: {outcome:?}");
            }
            for to in [SocketAddr::new(pod(1)[family], WEB), node_port(family, NODE_WEB)] {
                let probe =
                    Probe { size: 4 << 20, timeout_ms: 20_000, ..Probe::new(Transport::Exchange, to) };
                let outcome = prober.ask(&probe).unwrap();
                assert_eq!(outcome.name(), Some("p1"), "policy {policy}, {to}: {outcome:?}");
            }
        }
    }
}

/// Links that go down and up, and routing rules of the node's own. Held before; stays so.
#[test]
fn row_28_misc() {
    privileged!();
    let case = Case::new(&[1]);
    for namespace in [case.client(), &case.pod(1).namespace, case.node()] {
        namespace.set("net/ipv4/tcp_fastopen", "1027").unwrap();
    }
    let _agent = case.start();
    for (from, to) in [
        (From::Client, node_port(0, NODE_WEB)),
        (From::Node, vip(0, WEB)),
        (From::Pod(3), vip(0, WEB)),
        (From::Machine(3), vip(0, WEB)),
    ] {
        for _ in 0..3 {
            case.check_served(from, Transport::FastOpen, to);
        }
    }
    let node = case.node();
    node.set_down(Topology::CLIENT_INTERFACE).unwrap();
    node.set_up(Topology::CLIENT_INTERFACE).unwrap();
    // Addresses of IPv6 go with the link.
    node.add_address(Topology::CLIENT_INTERFACE, IpNet::new(Topology::NODE[1], 64).unwrap()).ok();
    for family in 0..2 {
        let check = |what: &str| {
            let outcome = case.ask(From::Client, Transport::Exchange, node_port(family, NODE_WEB));
            assert_eq!(outcome.name(), Some("p1"), "{what}, family {family}: {outcome:?}");
        };
        check("after down and up");
    }
}
