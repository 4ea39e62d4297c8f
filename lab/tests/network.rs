//! Networks of the lab carry traffic, and nothing of them stays.

#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use ipnet::IpNet;
use seaway_harness::privileged;
use seaway_lab::{
    End, Namespace, Node, Offload, Route, Rule, Topology, Veth, echo,
    echo::{Listener, Protocol},
    http,
    probe::{Outcome, Probe, Prober, Transport},
};

const PATIENCE_MS: u64 = 30_000;
const POD: [&str; 2] = ["10.1.1.111", "fd77:1::11"];
const GATEWAYS: [&str; 2] = ["10.1.1.1", "fd77:1::1"];
const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::UdpUnconnected];

fn addresses(texts: [&str; 2]) -> [IpAddr; 2] {
    texts.map(|text| text.parse().unwrap())
}

/// A question whose answer may take its time on a loaded machine.
fn patient(transport: Transport, to: SocketAddr) -> Probe {
    Probe { timeout_ms: PATIENCE_MS, ..Probe::new(transport, to) }
}

fn listeners(name: &str, address: IpAddr) -> Vec<Listener> {
    let listener = |protocol| Listener { name: name.into(), protocol, address: (address, 8080).into() };
    [Protocol::Tcp, Protocol::Udp].map(listener).into()
}

#[test]
fn pods_are_reached_through_the_node_in_both_families() {
    privileged!();
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    let sockets: Vec<_> = addresses(POD).into_iter().flat_map(|address| listeners("pod", address)).collect();
    let _server = echo::serve(&network.pods[0].namespace, &sockets).unwrap();
    assert_eq!(network.interfaces(), ["ext0", "ext1", "pod"]);
    for (to, client) in addresses(POD).into_iter().zip(Topology::CLIENT) {
        for transport in TRANSPORTS {
            let probe = patient(transport, (to, 8080).into());
            let outcome = network.client.run(|| Prober::default().ask(&probe)).unwrap();
            let Outcome::Answered { answer, remote } = outcome else { panic!("{probe:?}: {outcome:?}") };
            assert_eq!((answer.name.as_str(), answer.port), ("pod", 8080));
            assert_eq!((answer.peer.ip(), remote), (client, SocketAddr::new(to, 8080)));
        }
    }
}

#[test]
fn flows_keep_their_socket_and_ports_can_be_chosen() {
    privileged!();
    let to = addresses(POD)[0];
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    let _server = echo::serve(&network.pods[0].namespace, &listeners("pod", to)).unwrap();
    let ask_twice = |transport, from: SocketAddr| {
        let flow = Some("one".into());
        let probe = Probe { from: Some(from), flow, ..patient(transport, (to, 8080).into()) };
        network.client.run(|| {
            let mut prober = Prober::default();
            for _ in 0..2 {
                let outcome = prober.ask(&probe);
                let Outcome::Answered { answer, .. } = outcome else { panic!("{probe:?}: {outcome:?}") };
                assert_eq!(answer.peer, from);
            }
        })
    };
    for (transport, port) in TRANSPORTS.into_iter().zip(5001..) {
        ask_twice(transport, SocketAddr::new(Topology::CLIENT[0], port)).unwrap();
    }
}

#[test]
fn closed_ports_refuse_and_missing_routes_are_unreachable() {
    privileged!();
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    let check = |to: &str, transport, expected| {
        let timeout_ms = if expected == Outcome::Timeout { 300 } else { PATIENCE_MS };
        let probe = Probe { timeout_ms, ..Probe::new(transport, to.parse().unwrap()) };
        assert_eq!(network.client.run(|| Prober::default().ask(&probe)).unwrap(), expected, "{probe:?}");
    };
    network.node.namespace().add_route(&Route::blackhole("10.9.0.0/16".parse().unwrap())).unwrap();
    network.client.add_route(&Route::unreachable("10.7.0.0/16".parse().unwrap())).unwrap();
    check("10.1.1.111:81", Transport::Tcp, Outcome::Refused);
    check("10.1.1.111:81", Transport::Udp, Outcome::Refused);
    check("10.1.1.111:81", Transport::UdpUnconnected, Outcome::Refused);
    check("10.1.1.111:81", Transport::Http, Outcome::Refused);
    check("[fd77:1::11]:81", Transport::Tcp, Outcome::Refused);
    check("[fd77:1::11]:81", Transport::UdpUnconnected, Outcome::Refused);
    check("10.7.0.1:80", Transport::Tcp, Outcome::Unreachable);
    check("10.8.0.1:80", Transport::Tcp, Outcome::Unreachable);
    check("10.9.0.1:80", Transport::Tcp, Outcome::Timeout);
    check("10.9.0.1:80", Transport::Icmp, Outcome::Timeout);
}

#[test]
fn echo_requests_and_http_requests_are_answered() {
    privileged!();
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    for (to, client) in addresses(POD).into_iter().zip(Topology::CLIENT) {
        let address = SocketAddr::new(to, 80);
        let _server = http::serve(&network.pods[0].namespace, "pod", address).unwrap();
        for (transport, name) in [(Transport::Icmp, "echo-reply"), (Transport::Http, "http-200")] {
            let probe = patient(transport, address);
            let outcome = network.client.run(|| Prober::default().ask(&probe)).unwrap();
            let Outcome::Answered { answer, .. } = outcome else { panic!("{probe:?}: {outcome:?}") };
            assert_eq!((answer.name.as_str(), answer.peer.ip()), (name, client));
        }
    }
}

#[test]
fn connection_from_a_given_port_leaves_it_free() {
    privileged!();
    let to = addresses(POD)[0];
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    let _server = echo::serve(&network.pods[0].namespace, &listeners("pod", to)).unwrap();
    let from = Some(SocketAddr::new(Topology::CLIENT[0], 5001));
    let probe = Probe { from, ..patient(Transport::Tcp, (to, 8080).into()) };
    for _ in 0..3 {
        let outcome = network.client.run(|| Prober::default().ask(&probe)).unwrap();
        assert_eq!(outcome.name(), Some("pod"), "{outcome:?}");
    }
}

#[test]
fn pod_that_owns_networks_answers_from_every_address() {
    privileged!();
    let node = Node::new("node", &addresses(GATEWAYS)).unwrap();
    let networks: [IpNet; 2] = ["10.77.2.128/25", "fd77:2::1:0/112"].map(|text| text.parse().unwrap());
    let pod = node.add_pod("many", &networks).unwrap();
    let last = addresses(["10.77.2.255", "fd77:2::1:63"]);
    let sockets: Vec<_> = last.into_iter().flat_map(|address| listeners("last", address)).collect();
    let _server = echo::serve(&pod.namespace, &sockets).unwrap();
    for to in last {
        let probe = patient(Transport::Tcp, (to, 8080).into());
        let outcome = node.namespace().run(|| Prober::default().ask(&probe)).unwrap();
        assert_eq!(outcome.name(), Some("last"), "{to}: {outcome:?}");
    }
}

#[test]
fn rule_sends_what_enters_by_a_link_to_its_own_table() {
    privileged!();
    let network = Topology::new(&addresses(GATEWAYS), &[("pod", &addresses(POD))]).unwrap();
    let node = network.node.namespace();
    let everything: IpNet = "0.0.0.0/0".parse().unwrap();
    node.add_route(&Route::blackhole(everything).table(100)).unwrap();
    node.add_rule(&Rule { input: Topology::CLIENT_INTERFACE.into(), table: 100, priority: 100 }).unwrap();
    let _server = echo::serve(&network.pods[0].namespace, &listeners("pod", addresses(POD)[0])).unwrap();
    let probe = patient(Transport::Tcp, "10.1.1.111:8080".parse().unwrap());
    let hasty = Probe { timeout_ms: 300, ..probe.clone() };
    assert_eq!(network.client.run(|| Prober::default().ask(&hasty)).unwrap(), Outcome::Timeout);
    assert_eq!(node.run(|| Prober::default().ask(&probe)).unwrap().name(), Some("pod"));
}

#[test]
fn wire_has_no_checksum_offload_and_deferred_has() {
    privileged!();
    let check = |offload, expected: bool| {
        let [a, b] = ["a", "b"].map(|name| Namespace::new(name).unwrap());
        Veth::new(End::new(&a, "x"), End::new(&b, "y")).offload(offload).connect().unwrap();
        for (namespace, link) in [(&a, "x"), (&b, "y")] {
            let features = namespace.features(link).unwrap();
            for feature in ["tx-checksum-ip-generic", "tx-tcp-segmentation"] {
                assert_eq!(features.contains(feature), expected, "{offload:?} {feature}: {features:?}");
            }
        }
    };
    check(Offload::Wire, false);
    check(Offload::Deferred, true);
}

#[test]
fn bridge_joins_its_ports() {
    privileged!();
    let [switch, a, b] = ["switch", "a", "b"].map(|name| Namespace::new(name).unwrap());
    for (host, port, address) in [(&a, "to-a", "10.5.0.1/24"), (&b, "to-b", "10.5.0.2/24")] {
        let end =
            End::new(host, "eth0").address(address.parse().unwrap()).mac([2, 0, 0, 0, 0, port.as_bytes()[3]]);
        Veth::new(End::new(&switch, port), end).mtu(1400).connect().unwrap();
    }
    switch.add_bridge("br0", &["to-a", "to-b"]).unwrap();
    let _server = echo::serve(&b, &listeners("b", "10.5.0.2".parse().unwrap())).unwrap();
    let probe = patient(Transport::Tcp, "10.5.0.2:8080".parse().unwrap());
    assert_eq!(a.run(|| Prober::default().ask(&probe)).unwrap().name(), Some("b"));
}

#[test]
fn children_are_in_the_namespace_and_end_with_their_handle() {
    privileged!();
    let namespace = Namespace::new("home").unwrap();
    let own = namespace.run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
    assert_ne!(own, std::fs::read_link("/proc/self/ns/net").unwrap());
    let mut command = Command::new("sleep");
    command.arg("1000");
    let child = namespace.spawn(command).unwrap();
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    assert_eq!(std::fs::read_link(folder.join("ns/net")).unwrap(), own);
    drop(child);
    assert!(!folder.exists());
}
