//! ClusterIP with real sockets, through the cgroup hooks and through XDP.

#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use aya::maps::MapData;
use seaway_common::{MapName, SocketKey, SocketValue};
use seaway_dataplane::batch::entries;
use seaway_harness::{privileged, wait_for, wait_for_some};
use seaway_lab::probe::{Outcome, Probe, Transport};
use seaway_tests::network::{BOTH, ECHO_TCP, Network, Path, ask, manifest, pods, question, spread, vip};

const PATIENCE: Duration = Duration::from_secs(30);
/// With fair chances, one of three has fewer than [`LEAST`] in less than one of a million runs.
const ASKED: usize = 120;
const LEAST: usize = 16;

/// Every port in both families, over `transports`: everybody answers, from the Service's address.
fn check_spread(path: Path, ports: &[(u16, Transport)]) {
    let network = Network::new(&[0, 1, 2]);
    let _agent = network.start();
    let mut prober = network.prober(path);
    for (port, transport) in ports {
        for family in [0, 1] {
            let counts = spread(&mut prober, *transport, vip(family, *port), ASKED);
            assert!(counts.keys().map(String::as_str).eq(pods()), "{port} {transport:?}: {counts:?}");
            assert!(counts.values().all(|count| *count >= LEAST), "{port} {transport:?}: {counts:?}");
        }
    }
}

#[test]
fn row_01_cluster_ip_tcp_and_udp_through_sockets() {
    privileged!();
    check_spread(Path::Socket, &[(ECHO_TCP, Transport::Tcp), (BOTH, Transport::Udp)]);
}

#[test]
fn row_01_cluster_ip_tcp_and_udp_through_xdp() {
    privileged!();
    check_spread(Path::Xdp, &[(ECHO_TCP, Transport::Tcp), (BOTH, Transport::Udp)]);
}

#[test]
fn row_02_one_port_serves_tcp_and_udp() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let _agent = network.start();
    for path in Path::ALL {
        let mut prober = network.prober(path);
        for family in [0, 1] {
            for transport in [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected] {
                spread(&mut prober, transport, vip(family, BOTH), 4);
            }
        }
    }
}

/// `getpeername` and the sender of datagrams are the Service, as the program asked for it: IPv4,
/// IPv6, or IPv4 by way of an IPv6 socket.
#[test]
fn row_30_sockets_see_the_service_as_their_peer() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let _agent = network.start();
    let mut prober = network.prober(Path::Socket);
    let mapped: SocketAddr = "[::ffff:10.96.0.80]:53".parse().unwrap();
    for to in [vip(0, BOTH), vip(1, BOTH), mapped] {
        for transport in [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected] {
            spread(&mut prober, transport, to, 4);
        }
    }
}

#[test]
fn row_30_unconnected_socket_stays_with_one_endpoint_until_it_leaves() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let mut agent = network.start();
    let mut prober = network.prober(Path::Socket);
    let to = vip(0, BOTH);
    let same = Probe { flow: Some("same".into()), ..question(Transport::UdpUnconnected, to) };
    let (first, _) = ask(&mut prober, &same);
    for _ in 0..10 {
        assert_eq!(ask(&mut prober, &same), (first.clone(), to));
    }
    let (kept, left): (Vec<_>, Vec<_>) = [0, 1, 2].into_iter().partition(|pod| pods()[*pod] == first);
    // Another endpoint leaves: nothing changes for this socket. Then its own does.
    agent.apply("echo.yaml", &manifest(&[kept[0], left[0]]));
    for _ in 0..10 {
        assert_eq!(ask(&mut prober, &same), (first.clone(), to));
    }
    agent.apply("echo.yaml", &manifest(&[left[0]]));
    for _ in 0..10 {
        assert_eq!(ask(&mut prober, &same), (pods()[left[0]].to_owned(), to));
    }
}

#[test]
fn udp_flow_through_xdp_moves_when_its_endpoint_leaves() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let mut agent = network.start();
    let mut prober = network.prober(Path::Xdp);
    let to = vip(0, BOTH);
    let same = Probe { flow: Some("same".into()), ..question(Transport::Udp, to) };
    let (first, _) = ask(&mut prober, &same);
    for _ in 0..10 {
        assert_eq!(ask(&mut prober, &same), (first.clone(), to));
    }
    let left: Vec<_> = (0..3).filter(|pod| pods()[*pod] != first).collect();
    agent.apply("echo.yaml", &manifest(&left));
    // The status may be told a moment before the flows are purged.
    let hasty = Probe { timeout_ms: 500, ..same };
    let second = wait_for_some("an answer from another pod", PATIENCE, || {
        prober.ask(&hasty).unwrap().name().filter(|name| *name != first).map(str::to_owned)
    });
    for _ in 0..10 {
        assert_eq!(ask(&mut prober, &hasty), (second.clone(), to));
    }
    // The flow had two entries, one for each way.
    let told = "kubeproxy_conntrack_reconciler_deleted_entries_total";
    wait_for("the count of entries that went", PATIENCE, || network.metric(told) == Some(2.0));
}

#[test]
fn connect_without_endpoints_is_refused_at_once() {
    privileged!();
    let network = Network::new(&[]);
    let mut agent = network.start();
    let mut prober = network.prober(Path::Socket);
    for family in [0, 1] {
        for (port, transport) in
            [(ECHO_TCP, Transport::Tcp), (BOTH, Transport::Udp), (BOTH, Transport::UdpUnconnected)]
        {
            let asked = Instant::now();
            assert_eq!(prober.ask(&question(transport, vip(family, port))).unwrap(), Outcome::Refused);
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        }
    }
    agent.apply("echo.yaml", &manifest(&[1]));
    assert_eq!(ask(&mut prober, &question(Transport::Tcp, vip(0, ECHO_TCP))).0, "pod-2");
    agent.apply("echo.yaml", &manifest(&[]));
    assert_eq!(prober.ask(&question(Transport::Tcp, vip(0, ECHO_TCP))).unwrap(), Outcome::Refused);
}

/// Whatever sockets did, their entries go with them.
#[test]
fn closed_sockets_leave_no_entry() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let _agent = network.start();
    let pin = network.setup.pin_dir().join("maps").join(MapName::Sockets.as_str());
    let map = MapData::from_pin(pin).unwrap();
    let entries =
        || entries::<SocketKey, SocketValue>(map.fd(), map.info().unwrap().max_entries()).unwrap().len();
    let mut prober = network.prober(Path::Socket);
    for transport in [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected] {
        for number in 0..8 {
            let flow = Some(format!("{transport:?}-{number}"));
            ask(&mut prober, &Probe { flow, ..question(transport, vip(number % 2, BOTH)) });
        }
        spread(&mut prober, transport, vip(0, BOTH), 8);
    }
    // A head and an entry for the peer each; a third for the backend of datagrams.
    assert_eq!(entries(), 8 * 2 + 8 * 2 + 8 * 3);
    drop(prober);
    wait_for("an empty map", PATIENCE, || entries() == 0);
}

#[test]
fn sockets_outside_the_cgroup_are_left_alone() {
    privileged!();
    let network = Network::new(&[0]);
    let _agent = network.start();
    let node = network.topology.node.namespace();
    let probe = question(Transport::Tcp, vip(0, ECHO_TCP));
    let outcome = node.run(|| seaway_lab::probe::Prober::default().ask(&probe)).unwrap();
    assert_eq!(outcome, Outcome::Unreachable);
}
