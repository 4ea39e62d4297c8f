//! Refusals: who gets them, how many, and what a health port does under slow clients.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use seaway_harness::privileged;
use seaway_lab::{
    NodeSettings, Topology,
    probe::{Outcome, Transport},
};
use seaway_tests::nodes::{
    case::{Case, DNS, From, ip, node_port, vip},
    packets::{self, Segment, Sender},
};

/// How long answers to what was sent may take.
const QUIET: Duration = Duration::from_millis(300);

/// Who sends to a port without an endpoint is refused, by the address that was asked. Held before;
/// stays so.
#[test]
fn row_26_errors() {
    privileged!();
    let case = Case::new(&[]);
    let _agent = case.start();
    for from in [From::Client, From::Pod(3), From::Machine(3), From::Node] {
        for family in 0..2 {
            for transport in [Transport::Udp, Transport::UdpUnconnected] {
                let outcome = case.ask(from, transport, vip(family, DNS));
                assert_eq!(outcome, Outcome::Refused, "{from:?}, {transport:?}, family {family}");
            }
        }
    }
}

/// ICMP errors are limited as the kernel's own (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
#[test]
fn row_a5_rate_of_errors() {
    privileged!();
    const SENT: usize = 2000;
    let case = Case::new(&[]);
    // The lab takes the limits away so that tests see every refusal; these are the kernel's defaults.
    case.node().set("net/ipv4/icmp_ratelimit", "1000").unwrap();
    case.node().set("net/ipv6/icmp/ratelimit", "1000").unwrap();
    case.topology.node.open_ports(&[9]).unwrap();
    let _agent = case.start();
    let sender = Sender::new((case.client(), "eth0"), (case.node(), Topology::CLIENT_INTERFACE));
    let answers = |to: SocketAddr| {
        let from = SocketAddr::new(Topology::CLIENT[usize::from(to.is_ipv6())], 1);
        let packet = packets::udp(from, to, b"x");
        (0..SENT).for_each(|_| sender.send(&packet));
        sender.socket.count(QUIET, packets::is_icmp_error).unwrap()
    };
    for family in 0..2 {
        let kernel = answers((Topology::NODE[family], 9).into());
        thread::sleep(Duration::from_secs(2));
        for to in [node_port(family, 30_053), vip(family, DNS), vip(family, 1)] {
            let own = answers(to);
            // Both are buckets that fill with time; half a second more or less is not the point.
            assert!(
                own >= 1 && own <= kernel + 10,
                "{to}: {own} errors of {SENT}, the kernel's own {kernel}"
            );
            thread::sleep(Duration::from_secs(2));
        }
    }
}

/// No error and no echo reply to what is not one host's own address (RFC 1122, 3.2.2), nor to what was
/// sent to everybody on the link.
#[test]
fn row_a5_errors_to_nobody() {
    privileged!();
    let why = "with strict filters none of these sources comes as far as the question that is asked here";
    let case = Case::with(NodeSettings { second_uplink: true, ..NodeSettings::gentle(why) }, &[]);
    let _agent = case.start();
    let sender = Sender::new((case.client(), "eth0"), (case.node(), Topology::CLIENT_INTERFACE));
    let is_answer = |frame: &[u8]| {
        let packet = packets::payload(frame);
        let is_echo_reply =
            packet.first() == Some(&0x45) && packet.get(9) == Some(&1) && packet.get(20) == Some(&0);
        packets::is_icmp_error(frame) || packets::is_reset(frame) || is_echo_reply
    };
    let mut wrong = Vec::new();
    let v4 =
        ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "10.96.0.80", "240.0.0.1", "192.0.2.255"];
    let v6 = ["::1", "ff02::1", "::"];
    for source in v4.iter().chain(&v6).map(|text| ip(text)) {
        let family = usize::from(source.is_ipv6());
        for (what, packet) in questions(source, family) {
            sender.send(&packet);
            if sender.socket.receive(QUIET, is_answer).unwrap().is_some() {
                wrong.push(format!("{what} from {source}"));
            }
        }
    }
    for family in 0..2 {
        for (what, packet) in questions(Topology::CLIENT[family], family) {
            sender.broadcast(&packet);
            if sender.socket.receive(QUIET, is_answer).unwrap().is_some() {
                wrong.push(format!("{what} to everybody on the link, family {family}"));
            }
            // The control: the same to the node alone is answered.
            sender.send(&packet);
            let answer = sender.socket.receive(Duration::from_secs(5), is_answer).unwrap();
            assert!(answer.is_some(), "{what}, family {family}: no answer to a plain question");
        }
    }
    assert!(wrong.is_empty(), "answered: {}", wrong.join(", "));
}

/// What is refused, or answered, when a host asks.
fn questions(source: IpAddr, family: usize) -> Vec<(&'static str, Vec<u8>)> {
    let from = SocketAddr::new(source, 7);
    let mut questions = vec![
        ("an undefined UDP port", packets::udp(from, vip(family, 1), b"x")),
        ("an undefined TCP port", packets::tcp(from, vip(family, 1), Segment::Syn, 7)),
        ("UDP without endpoint", packets::udp(from, node_port(family, 30_053), b"x")),
        ("TCP without endpoint", packets::tcp(from, node_port(family, 30_080), Segment::Syn, 7)),
    ];
    if source.is_ipv4() {
        questions.push(("an echo request", packets::echo_request(source, vip(0, 0).ip())));
    }
    questions
}

/// Slow connections do not silence the health ports.
#[test]
fn row_a7_slow_clients() {
    privileged!();
    const SLOW: usize = 64;
    const ATTACK: Duration = Duration::from_secs(15);
    const CHECK: u16 = 32_000;
    let case = Case::new(&[1]);
    let policy = "  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000\n";
    let manifest = seaway_tests::nodes::case::web(&[1], policy).replacen("  type: NodePort\n", "", 1);
    case.setup.write("web.yaml", &manifest);
    let _agent = case.start();
    for (port, path) in [(10_256, "/livez"), (CHECK, "/")] {
        let address = SocketAddr::new(Topology::NODE[0], port);
        let failed = case.client().run(|| {
            assert!(is_healthy(address, path), "{address} before the attack");
            let mut slow: Vec<_> = (0..SLOW).filter_map(|_| open_slowly(address)).collect();
            let began = Instant::now();
            let mut failed = 0;
            while began.elapsed() < ATTACK {
                failed += u32::from(!is_healthy(address, path));
                // The attack goes on: what was closed is opened again.
                for connection in &mut slow {
                    if is_closed(connection)
                        && let Some(again) = open_slowly(address)
                    {
                        *connection = again;
                    }
                }
                thread::sleep(Duration::from_millis(300));
            }
            failed
        });
        assert_eq!(failed.unwrap(), 0, "health checks at {address} that failed under {SLOW} slow clients");
    }
}

/// Kubelet's default is one second.
fn is_healthy(address: SocketAddr, path: &str) -> bool {
    const WITHIN: Duration = Duration::from_secs(1);
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut text = [0; 12];
        stream.read_exact(&mut text)?;
        Ok(text.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn open_slowly(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn is_closed(stream: &mut TcpStream) -> bool {
    !stream.read(&mut [0; 500]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
