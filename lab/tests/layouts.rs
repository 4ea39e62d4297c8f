//! Hostile nodes let through what every cluster needs, in every layout, and nothing else.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use seaway_harness::privileged;
use seaway_lab::{
    Layout, Namespace, NodeSettings, Route, TwoNodes, echo,
    echo::{Listener, Protocol},
    probe::{Outcome, Probe, Prober, Transport},
};

const PORT: u16 = 8080;
/// Long enough for a loaded machine.
const PATIENCE_MS: u64 = 20_000;
/// For what is dropped.
const HASTE_MS: u64 = 300;

fn serve(namespace: &Namespace, name: &str, addresses: &[IpAddr]) -> seaway_lab::Server {
    let listeners: Vec<_> = addresses
        .iter()
        .flat_map(|&address| {
            [Protocol::Tcp, Protocol::Udp].map(|protocol| Listener {
                name: name.into(),
                protocol,
                address: (address, PORT).into(),
            })
        })
        .collect();
    echo::serve(namespace, &listeners).unwrap()
}

fn ask(from: &Namespace, to: IpAddr, transport: Transport, timeout_ms: u64) -> Outcome {
    let probe = Probe { timeout_ms, size: 1200, ..Probe::new(transport, SocketAddr::new(to, PORT)) };
    from.run(|| Prober::default().ask(&probe)).unwrap()
}

#[test]
fn pods_and_nodes_are_reached_in_every_layout() {
    privileged!();
    for layout in Layout::ALL {
        let network = TwoNodes::new(layout, &NodeSettings::hostile(), 2).unwrap();
        let [n1, n2] = network.nodes.each_ref().map(seaway_lab::Node::namespace);
        network.nodes[1].open_ports(&[PORT]).unwrap();
        let pod = |node, number| TwoNodes::pod_addresses(node, number);
        let mut servers = vec![serve(n2, "n2", &network.n2())];
        for (number, (local, remote)) in (1..).zip(network.local.iter().zip(&network.remote)) {
            servers.push(serve(&local.namespace, "local", &pod(1, number)));
            servers.push(serve(&remote.namespace, "remote", &pod(2, number)));
        }
        let own = &network.local[1].namespace;
        for family in 0..2 {
            for transport in [Transport::Tcp, Transport::Udp] {
                let check = |from: &Namespace, to: IpAddr, name: &str| {
                    let outcome = ask(from, to, transport, PATIENCE_MS);
                    let counters = network.nodes[0].firewall_counters();
                    assert_eq!(
                        outcome.name(),
                        Some(name),
                        "{layout:?} {from:?} {to}: {outcome:?}\n{counters}"
                    );
                };
                check(&network.client, pod(1, 1)[family], "local");
                check(n1, pod(1, 1)[family], "local");
                check(n1, pod(2, 1)[family], "remote");
                check(own, pod(1, 1)[family], "local");
                check(own, pod(2, 1)[family], "remote");
                check(own, network.n2()[family], "n2");
            }
        }
    }
}

/// The control of everything that is said to work on a hostile node: what it has to drop, it drops.
#[test]
fn hostile_nodes_drop_what_connection_tracking_does_not_know() {
    privileged!();
    let mut network = TwoNodes::new(Layout::PointToPoint, &NodeSettings::hostile(), 1).unwrap();
    let pod = TwoNodes::pod_addresses(1, 1);
    let _server = serve(&network.local[0].namespace, "local", &pod);
    let _node = serve(network.nodes[0].namespace(), "n1", &TwoNodes::N1);
    // A port of the node's own that is not open.
    assert_eq!(ask(&network.client, TwoNodes::N1[0], Transport::Tcp, HASTE_MS), Outcome::Timeout);
    network.nodes[0].open_ports(&[PORT]).unwrap();
    assert_eq!(ask(&network.client, TwoNodes::N1[0], Transport::Tcp, PATIENCE_MS).name(), Some("n1"));

    // Sources that are not reached by the link they come in by.
    for (family, spoofed) in ["10.9.9.9", "fd99::9"].into_iter().enumerate() {
        let spoofed: IpAddr = spoofed.parse().unwrap();
        network.client.add_address("eth0", spoofed.into()).unwrap();
        let back = Route::to(spoofed).via(TwoNodes::CLIENT[family]);
        let probe = |timeout_ms| {
            let to = SocketAddr::new(pod[family], PORT);
            let from = Some(SocketAddr::new(spoofed, 0));
            let probe = Probe { timeout_ms, from, ..Probe::new(Transport::Tcp, to) };
            network.client.run(|| Prober::default().ask(&probe)).unwrap()
        };
        let n1 = network.nodes[0].namespace();
        let elsewhere = Route::to(spoofed).link(&network.local[0].interface);
        n1.add_route(&elsewhere).unwrap();
        assert_eq!(probe(HASTE_MS), Outcome::Timeout, "{spoofed}");
        n1.remove_route(&elsewhere).unwrap();
        n1.add_route(&back).unwrap();
        assert_eq!(probe(PATIENCE_MS).name(), Some("local"), "{spoofed}");
    }
    // Gentle nodes drop nothing.
    network.apply(&NodeSettings::gentle("shows what the settings change")).unwrap();
    assert_eq!(network.nodes[0].firewall_counters(), "");
}
