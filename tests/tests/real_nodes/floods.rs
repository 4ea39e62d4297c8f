//! SYNs with spoofed sources, at the rate of a link.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use seaway_harness::privileged;
use seaway_lab::{
    Layout, NodeSettings,
    probe::{Outcome, Probe, Prober, Transport},
};
use seaway_tests::nodes::{
    Endpoint, Frontend, Nodes, Policy, Service, by_hand,
    packets::{Segment, Sender, tcp},
};

const IDLE: usize = 500;
const PATIENCE_MS: u64 = 10_000;
const SERVICES: [Service; 2] = [
    Service { endpoint: Endpoint::LocalPod, policy: Policy::Cluster },
    Service { endpoint: Endpoint::Remote, policy: Policy::Cluster },
];

fn nodes() -> Nodes {
    Nodes::new(Layout::PointToPoint, &NodeSettings::hostile(), by_hand(Layout::PointToPoint))
}

/// Sends SYNs from as many sources to each of these addresses in turn.
fn flood(nodes: &Nodes, to: &[SocketAddr], count: u32, per_second: Option<u32>) {
    let sender = Sender::new((&nodes.network.client, "eth0"), (nodes.n1(), Layout::PointToPoint.uplink()));
    let began = Instant::now();
    for number in 0..count {
        if let Some(rate) = per_second
            && number % 64 == 0
        {
            let due = Duration::from_secs(1) * number / rate;
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        // Sources whose way back is the default route, so that no reverse path filter drops them.
        let mixed = number.wrapping_mul(2_654_435_761);
        let source = IpAddr::V4(Ipv4Addr::from(0x0b00_0000 | mixed >> 8));
        let port = 1024 + u16::try_from(mixed % 60_000).unwrap_or_default();
        let index = usize::try_from(number).unwrap_or_default() % to.len();
        sender.send(&tcp(SocketAddr::new(source, port), to[index], Segment::Syn, mixed));
    }
    println!("{count} SYNs in {:?}", began.elapsed());
}

fn ask(nodes: &Nodes, prober: &mut Prober, to: SocketAddr, flow: Option<String>) -> Outcome {
    let probe = Probe { flow, timeout_ms: PATIENCE_MS, ..Probe::new(Transport::Tcp, to) };
    nodes.network.client.run(|| prober.ask(&probe)).unwrap()
}

/// Flows that are assured are not evicted by those that are not.
#[test]
fn row_flood_450_000_syns() {
    privileged!();
    const SYNS: u32 = 450_000;
    let nodes = nodes();
    let _agent = nodes.start();
    let mut prober = Prober::default();
    let to = SERVICES.map(|service| service.address(Frontend::NodePort, 0, true));
    for number in 0..IDLE {
        let outcome = ask(&nodes, &mut prober, to[number % 2], Some(number.to_string()));
        assert!(outcome.name().is_some(), "connection {number}: {outcome:?}");
    }
    flood(&nodes, &to, SYNS, None);
    let lost: Vec<_> = (0..IDLE)
        .map(|number| (number, ask(&nodes, &mut prober, to[number % 2], Some(number.to_string()))))
        .filter(|(_, outcome)| outcome.name().is_none())
        .take(IDLE / 20)
        .collect();
    assert!(
        lost.is_empty(),
        "at least {} of {IDLE} idle connections are lost: {:?}",
        lost.len(),
        lost.first()
    );
}

/// A SYN-ACK makes no flow established: what a flood has taken is free again after a minute.
#[test]
fn row_flood_and_live() {
    privileged!();
    const SYNS: u32 = 30_000;
    const NEW: usize = 500;
    let nodes = nodes();
    let _agent = nodes.start();
    let to = SERVICES.map(|service| service.address(Frontend::NodePort, 0, true));
    flood(&nodes, &to[1..], SYNS, Some(5_000));
    // The time that a handshake without its last segment has (nf_conntrack_tcp_timeout_syn_recv).
    thread::sleep(Duration::from_secs(65));
    let mut prober = Prober::default();
    let refused: Vec<_> = (0..NEW)
        .map(|_| ask(&nodes, &mut prober, to[1], None))
        .filter(|outcome| outcome.name().is_none())
        .take(NEW / 20)
        .collect();
    assert!(refused.is_empty(), "at least {} of {NEW} are refused: {:?}", refused.len(), refused.first());
}
