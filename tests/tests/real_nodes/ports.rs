//! Source ports of masqueraded connections.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use seaway_harness::privileged;
use seaway_lab::{Layout, Namespace, NodeSettings};
use seaway_tests::nodes::{Endpoint, Frontend, Nodes, Policy, ScriptServer, Service, TARGET_TCP, by_hand};

const CONNECTIONS: u32 = 6000;
const PER_SECOND: u32 = 200;
/// What netfilter has over the same connections, with random ports.
const NETFILTER: u64 = 13;

/// The endpoint closes first, so that its sockets are in TIME_WAIT for a minute: a source port that comes
/// back meanwhile costs a second SYN.
#[test]
fn row_ports_repro() {
    privileged!();
    let nodes = Nodes::new(Layout::PointToPoint, &NodeSettings::hostile(), by_hand(Layout::PointToPoint));
    let service = Service { endpoint: Endpoint::Remote, policy: Policy::Cluster };
    // Beside the echo servers of the network, at a port of its own.
    let closing = TARGET_TCP + 1;
    let manifests = seaway_tests::nodes::manifests(&nodes.network);
    let moved = manifests
        .replace(&format!("targetPort: {TARGET_TCP}"), &format!("targetPort: {closing}"))
        .replace(&format!("{{name: tcp, port: {TARGET_TCP}}}"), &format!("{{name: tcp, port: {closing}}}"));
    nodes.setup.write("services.yaml", &moved);
    let address = SocketAddr::new(service.endpoint.addresses()[0], closing);
    let pod = &nodes.network.remote[0].namespace;
    let _server = ScriptServer::start(pod, address, |mut stream| {
        stream.read_exact(&mut [0])?;
        stream.write_all(b"ok")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let _agent = nodes.start();
    let client = &nodes.network.client;
    client.set("net/ipv4/ip_local_port_range", "1025 65000").unwrap();
    let to = service.address(Frontend::NodePort, 0, true);
    let before = repeated_syns(client);
    let failed = client.run(|| connect_often(to)).unwrap();
    let repeated = repeated_syns(client) - before;
    println!("{repeated} SYNs repeated and {failed} of {CONNECTIONS} connections failed");
    assert_eq!(failed, 0);
    assert!(
        repeated <= NETFILTER,
        "{repeated} SYNs of {CONNECTIONS} were repeated, with netfilter {NETFILTER}"
    );
}

fn connect_often(to: SocketAddr) -> u32 {
    let began = Instant::now();
    let mut failed = 0;
    for number in 0..CONNECTIONS {
        let due = Duration::from_secs(1) * number / PER_SECOND;
        thread::sleep(due.saturating_sub(began.elapsed()));
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"?")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        };
        failed += u32::from(!exchange().is_ok_and(|answer| answer == b"ok"));
    }
    failed
}

/// `TCPSynRetrans` of a namespace.
fn repeated_syns(namespace: &Namespace) -> u64 {
    let read = || std::fs::read_to_string("/proc/thread-self/net/netstat");
    let text = namespace.run(read).unwrap().expect("the namespace's counters");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let found = names.zip(values).find(|(name, _)| *name == "TCPSynRetrans");
    found.and_then(|(_, value)| value.parse().ok()).expect("a counter of repeated SYNs")
}
