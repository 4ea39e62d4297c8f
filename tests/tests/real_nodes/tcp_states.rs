//! TCP as TCP is: half-closed connections, resets, connections whose flows are lost.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use seaway_harness::{Agent, privileged};
use seaway_lab::{
    Namespace, Topology,
    probe::{Outcome, Probe, Transport},
};
use seaway_tests::nodes::{
    Endpoint, Frontend, Nodes, Policy, ScriptServer, Service, by_hand,
    case::{Case, From, NODE_WEB, WEB, ip, node_port, vip, web},
    packets::{Segment, Sender, tcp},
};

/// What the scripted servers listen on.
const LATE: u16 = 8081;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than the report's server keeps silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// When a client has to know that its connection is gone.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Waits for the client's FIN, then as long as the client has asked for, in seconds, and answers with
/// one line a second.
fn answer_late(mut stream: TcpStream) -> io::Result<()> {
    let mut asked = String::new();
    stream.read_to_string(&mut asked)?;
    let mut words = asked.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
    let (wait, lines) = (words.next().unwrap_or_default(), words.next().unwrap_or(1));
    thread::sleep(Duration::from_secs(wait));
    for line in 0..lines {
        if line > 0 {
            thread::sleep(Duration::from_secs(1));
        }
        writeln!(stream, "line {line}")?;
    }
    Ok(())
}

/// Asks for lines after a wait, closes its half and reads to the end.
fn ask_late(to: SocketAddr, wait: u64, lines: u64) -> io::Result<usize> {
    let mut stream = TcpStream::connect_timeout(&to, CONNECT_WITHIN)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    write!(stream, "{wait} {lines}")?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.lines().count())
}

/// The Service `late` of a two-node network: its endpoint answers late.
fn late_servers(nodes: &Nodes) -> Vec<ScriptServer> {
    let places =
        [(&nodes.network.local[0], Endpoint::LocalPod), (&nodes.network.remote[0], Endpoint::Remote)];
    let addresses = |endpoint: Endpoint| endpoint.addresses().map(|address| SocketAddr::new(address, LATE));
    places
        .into_iter()
        .flat_map(|(pod, endpoint)| {
            addresses(endpoint).map(|address| ScriptServer::start(&pod.namespace, address, answer_late))
        })
        .collect()
}

/// The two-node network with late servers behind the usual Services.
fn late() -> (Nodes, Vec<ScriptServer>, Agent) {
    late_with(&[])
}

fn late_with(arguments: &[&str]) -> (Nodes, Vec<ScriptServer>, Agent) {
    let layout = seaway_lab::Layout::PointToPoint;
    let setup = by_hand(layout).arguments(arguments.iter().copied());
    let nodes = Nodes::new(layout, &seaway_lab::NodeSettings::hostile(), setup);
    let manifests = seaway_tests::nodes::manifests(&nodes.network);
    let own = format!("targetPort: {}", seaway_tests::nodes::TARGET_TCP);
    let slice = format!("{{name: tcp, port: {}}}", seaway_tests::nodes::TARGET_TCP);
    let late = manifests.replace(&own, &format!("targetPort: {LATE}"));
    let late = late.replace(&slice, &format!("{{name: tcp, port: {LATE}}}"));
    nodes.setup.write("services.yaml", &late);
    let servers = late_servers(&nodes);
    let agent = nodes.start();
    (nodes, servers, agent)
}

/// Services with an endpoint on the node and on the other one.
const SERVICES: [Service; 2] = [
    Service { endpoint: Endpoint::LocalPod, policy: Policy::Cluster },
    Service { endpoint: Endpoint::Remote, policy: Policy::Cluster },
];

/// Half-closed is open (RFC 9293, 3.6).
#[test]
fn row_03_half_closed() {
    privileged!();
    let (nodes, _servers, _agent) = late();
    let asked: Vec<_> = SERVICES
        .into_iter()
        .flat_map(|service| {
            let frontends = [Frontend::NodePort, Frontend::Cluster].into_iter();
            frontends
                .flat_map(move |frontend| (0..2).map(move |family| service.address(frontend, family, true)))
        })
        .flat_map(|to| [(to, 3), (to, 25)])
        .collect();
    let client = &nodes.network.client;
    let failed = in_parallel(client, &asked, |&(to, wait)| match ask_late(to, wait, 1) {
        Ok(1) => None,
        outcome => Some(format!("{to}, {wait} s after the FIN: {outcome:?}")),
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Silent for longer than any timeout of a closing connection.
#[test]
fn row_ports_repro2_silent_endpoint() {
    privileged!();
    let (nodes, _servers, _agent) = late();
    let asked = SERVICES.map(|service| service.address(Frontend::NodePort, 0, true));
    let failed = in_parallel(&nodes.network.client, &asked, |&to| match ask_late(to, 45, 2) {
        Ok(2) => None,
        outcome => Some(format!("{to}: {outcome:?}")),
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Four ports for masqueraded connections, one of them half-closed: nobody else gets it.
#[test]
fn row_ports_repro2_port_taken_over() {
    privileged!();
    let (nodes, _servers, _agent) = late_with(&["--snat-ports", "10000-10003"]);
    let to = SERVICES[1].address(Frontend::NodePort, 0, true);
    let client = &nodes.network.client;
    let lines = thread::scope(|scope| {
        let stream = scope.spawn(|| client.run(|| ask_late(to, 0, 8)).unwrap());
        // Three ports are left; connections that find none are refused or wait, which is not the point.
        for _ in 0..40 {
            if stream.is_finished() {
                break;
            }
            let began = Instant::now();
            client.run(|| ask_late(to, 0, 1)).unwrap().ok();
            thread::sleep(Duration::from_millis(200).saturating_sub(began.elapsed()));
        }
        stream.join().unwrap()
    });
    assert_eq!(lines.unwrap(), 8);
}

/// Two clients with one source port: the second does not get the first one's masqueraded port while
/// that is half-closed.
#[test]
fn row_a1_a2_takeover() {
    privileged!();
    let (nodes, _servers, _agent) = late();
    let client = &nodes.network.client;
    for host in ["192.0.2.11/24", "192.0.2.12/24"] {
        client.add_address("eth0", host.parse().unwrap()).unwrap();
    }
    let to = SERVICES[1].address(Frontend::NodePort, 0, true);
    let connect = |from: &str, words: &'static str| -> io::Result<String> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&format!("{from}:15000").parse::<SocketAddr>().unwrap().into())?;
        socket.connect_timeout(&to.into(), CONNECT_WITHIN)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.write_all(words.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| client.run(|| connect("192.0.2.11", "0 10")).unwrap());
        thread::sleep(Duration::from_millis(2500));
        let second = client.run(|| connect("192.0.2.12", "0 1")).unwrap();
        (first.join().unwrap(), second)
    });
    assert_eq!(first.unwrap().lines().count(), 10);
    assert_eq!(second.unwrap(), "line 0\n");
}

/// A connection whose flow is lost is reset or goes on, within moments; it is never silent.
#[test]
fn row_23_half_open() {
    privileged!();
    for policy in ["Cluster", "Local"] {
        let case = Case::new(&[1]);
        case.setup.write("web.yaml", &web(&[1], &format!("  externalTrafficPolicy: {policy}\n")));
        let agent = case.start();
        let asked = [node_port(0, NODE_WEB), node_port(1, NODE_WEB), vip(0, WEB), vip(1, WEB)];
        let mut prober = case.prober(From::Client);
        let question = |to: SocketAddr, patience: Duration| Probe {
            flow: Some(to.to_string()),
            timeout_ms: u64::try_from(patience.as_millis()).unwrap(),
            ..Probe::new(Transport::Tcp, to)
        };
        for to in asked {
            let outcome = prober.ask(&question(to, CONNECT_WITHIN)).unwrap();
            assert_eq!(outcome.name(), Some("p1"), "{to}: {outcome:?}");
        }
        assert!(agent.terminate().success());
        // All that was in the kernel goes with the pins: the balancer starts from nothing.
        std::fs::remove_dir_all(case.setup.pin_dir()).unwrap();
        let _agent = case.start();
        for to in asked {
            let outcome = prober.ask(&question(to, KNOWN_WITHIN)).unwrap();
            let is_known = outcome.name() == Some("p1") || outcome == Outcome::Reset;
            let counters = case.topology.node.firewall_counters();
            assert!(is_known, "policy {policy}, {to}: {outcome:?}\n{counters}");
        }
    }
}

/// RFC 5961: a reset counts if its number fits and its checksum is right. What does not changes
/// nothing, half a minute later neither.
#[test]
fn row_a3_blind_reset() {
    privileged!();
    const SILENCE: Duration = Duration::from_secs(25);
    let layout = seaway_lab::Layout::PointToPoint;
    let nodes = Nodes::new(layout, &seaway_lab::NodeSettings::hostile(), by_hand(layout));
    let _agent = nodes.start();
    let client = &nodes.network.client;
    let sender = Sender::new((client, "eth0"), (nodes.n1(), layout.uplink()));
    let mut open = Vec::new();
    for service in SERVICES {
        for frontend in [Frontend::NodePort, Frontend::LoadBalancer] {
            for attack in [Attack::Reset, Attack::BadChecksum, Attack::ResetAndSyn, Attack::Syn] {
                let to = service.address(frontend, 0, true);
                let connect = || TcpStream::connect_timeout(&to, CONNECT_WITHIN);
                let stream = client.run(connect).unwrap();
                let mut stream = stream.unwrap_or_else(|error| panic!("{to}: {error}"));
                stream.set_read_timeout(Some(CONNECT_WITHIN)).unwrap();
                let name = ask_line(&mut stream).unwrap_or_else(|error| panic!("{to}: {error}"));
                for packet in attack.packets(stream.local_addr().unwrap(), to) {
                    sender.send(&packet);
                }
                open.push((service, frontend, attack, name, stream));
            }
        }
    }
    let mut check = |when: &str| {
        let mut failed = Vec::new();
        for (service, frontend, attack, name, stream) in &mut open {
            let outcome = stream.write_all(b"again\n").and_then(|()| ask_line(stream));
            if !outcome.as_ref().is_ok_and(|answer| answer == name) {
                failed.push(format!("{:?} {frontend:?}, {attack:?}, {when}: {outcome:?}", service.endpoint));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    };
    check("at once");
    thread::sleep(SILENCE);
    check("25 s later");
}

/// What somebody sends who does not know the connection's numbers.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Reset,
    BadChecksum,
    ResetAndSyn,
    Syn,
}

impl Attack {
    fn packets(self, from: SocketAddr, to: SocketAddr) -> Vec<Vec<u8>> {
        const FAR: u32 = 0x4000_0000;
        let reset = tcp(from, to, Segment::Rst, FAR);
        match self {
            Self::Reset => vec![reset],
            Self::BadChecksum => {
                let mut packet = reset;
                let at = packet.len() - 4;
                packet[at] ^= 0x55;
                vec![packet]
            }
            Self::ResetAndSyn => vec![reset, tcp(from, to, Segment::Syn, FAR + 7)],
            Self::Syn => vec![tcp(from, to, Segment::Syn, FAR + 7)],
        }
    }
}

/// A line of an echo server, of which the server's name is returned.
fn ask_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    let answer: seaway_lab::echo::Answer = serde_json::from_slice(&line)?;
    Ok(answer.name)
}

/// Connections of one port after the other, ended by a FIN or by a reset, and an endpoint that changes
/// between a SYN and its repetition. Held before; stays so.
#[test]
fn row_21_tcp_states() {
    privileged!();
    let case = Case::new(&[1]);
    let mut agent = case.start();
    let mut prober = case.prober(From::Client);
    // The prober ends connections from a given port by a reset.
    let from = Some(SocketAddr::new(Topology::CLIENT[0], 40_123));
    for number in 0..6 {
        let question = Probe { from, timeout_ms: 5000, ..Probe::new(Transport::Tcp, node_port(0, NODE_WEB)) };
        let outcome = prober.ask(&question).unwrap();
        assert_eq!(outcome.name(), Some("p1"), "connection {number}: {outcome:?}");
    }
    // Nobody is at this address: the SYN gets no answer.
    let nobody = ip("10.1.1.119");
    case.node().add_route(&seaway_lab::Route::to(nobody).link("p3")).unwrap();
    agent.apply("web.yaml", &web(&[1], "").replace("10.1.1.111", "10.1.1.119"));
    let connect = || TcpStream::connect_timeout(&node_port(0, NODE_WEB), Duration::from_secs(20));
    thread::scope(|scope| {
        let connected = scope.spawn(|| case.client().run(connect).unwrap());
        thread::sleep(Duration::from_millis(1200));
        agent.apply("web.yaml", &web(&[1], ""));
        let stream = connected.join().unwrap();
        stream.unwrap_or_else(|error| panic!("after the endpoint has changed: {error}"));
    });
}

/// Runs `work` for every item in a namespace at the same time; what it returns is what failed.
fn in_parallel<T: Sync>(
    namespace: &Namespace,
    items: &[T],
    work: impl Fn(&T) -> Option<String> + Sync,
) -> Vec<String> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            items.iter().map(|item| scope.spawn(move || namespace.run(|| work(item)).unwrap())).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    })
}
