//! Packets that are made to be misread.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use etherparse::IpNumber;
use seaway_harness::privileged;
use seaway_lab::{NodeSettings, RawSocket, Topology, probe::Transport};
use seaway_tests::nodes::{
    case::{Case, DNS, From, NODE_DNS, NODE_WEB, WEB, ip, node_port, pod, slice, vip},
    packets::{self, Segment, Sender, ip_header, payload},
};

/// How long something is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(500);
/// A port that no Service leads to.
const HIDDEN: u16 = 2222;

fn sender(case: &Case) -> Sender {
    Sender::new((case.client(), "eth0"), (case.node(), Topology::CLIENT_INTERFACE))
}

/// A header chain longer than what is looked at: the port that is checked has to be the port that is
/// used.
#[test]
fn row_a4_header_chain() {
    privileged!();
    let mut case = Case::new(&[1]);
    case.serve(From::Pod(1), "hidden", &pod(1), &[HIDDEN], &[HIDDEN]);
    // The longest chain fits, and XDP takes packets of this length.
    let pod_link = (&case.pod(1).namespace, "eth0");
    for (namespace, link) in [
        (case.client(), "eth0"),
        (case.node(), Topology::CLIENT_INTERFACE),
        (case.node(), &*case.pod(1).interface),
        pod_link,
    ] {
        namespace.set_mtu(link, 3000).unwrap();
    }
    let _agent = case.start();
    let sender = sender(&case);
    let arrived = RawSocket::open(&case.pod(1).namespace, "eth0").unwrap();
    for (to, port, protocol) in [
        (node_port(1, NODE_WEB), WEB, IpNumber::TCP),
        (vip(1, WEB), WEB, IpNumber::TCP),
        (node_port(1, NODE_DNS), DNS, IpNumber::UDP),
        (vip(1, DNS), DNS, IpNumber::UDP),
    ] {
        // Headers of up to 2048 bytes: wherever an implementation's mask wraps, the forged port is there.
        for headers in [1, 2, 4] {
            sender.send(&forged_chain(to, port, protocol, headers));
            sender.send(&forged_chain(to, to.port(), protocol, headers));
        }
    }
    let hidden = |frame: &[u8]| payload(frame).windows(2).any(|bytes| bytes == HIDDEN.to_be_bytes());
    let is_from_client = |frame: &[u8]| {
        let packet = payload(frame);
        packet.first().is_some_and(|first| first >> 4 == 6) && source(packet) == Some(Topology::CLIENT[1])
    };
    let seen = arrived.receive(SILENCE, |frame| is_from_client(frame) && hidden(frame)).unwrap();
    assert_eq!(seen, None, "a packet to port {HIDDEN} arrived at the pod");
    // Chains that are short are followed.
    for headers in [1, 2] {
        check_short_chain(&case, &sender, headers);
    }
}

/// Destination options of 512 bytes each, padded so that every place in them where a transport header
/// could be read has `port` as its destination port; then the true header with another port.
fn forged_chain(to: SocketAddr, port: u16, protocol: IpNumber, headers: usize) -> Vec<u8> {
    const OPTIONS: u8 = 60;
    const BYTES: usize = 512;
    let from = SocketAddr::new(Topology::CLIENT[1], 44_000);
    let hidden = SocketAddr::new(to.ip(), HIDDEN);
    let whole = match protocol {
        IpNumber::TCP => packets::tcp(from, hidden, Segment::Syn, 1000),
        _ => packets::udp(from, hidden, b"wrapped"),
    };
    let transport = &whole[40..];
    let mut chain = Vec::new();
    for index in 0..headers {
        let is_last = index + 1 == headers;
        let mut header =
            vec![if is_last { protocol.0 } else { OPTIONS }, u8::try_from(BYTES / 8 - 1).unwrap()];
        // The destination port of a transport header that is thought to begin where this one does.
        header.extend(port.to_be_bytes());
        let rest = BYTES - header.len();
        let mut padding = Vec::new();
        while padding.len() < rest {
            let length = (rest - padding.len() - 2).min(255);
            padding.push(0x1e);
            padding.push(u8::try_from(length).unwrap());
            padding.extend(port.to_be_bytes().iter().cycle().take(length));
        }
        header.extend(padding);
        chain.extend(header);
    }
    let ip = ip_header(from.ip(), to.ip(), chain.len() + transport.len(), IpNumber(OPTIONS));
    let etherparse::IpHeaders::Ipv6(ip, _) = ip else { unreachable!("an IPv6 packet") };
    [&ip.to_bytes()[..], &chain, transport].concat()
}

/// A datagram behind short destination options is answered (28-misc: held before, stays so).
fn check_short_chain(case: &Case, sender: &Sender, headers: usize) {
    let bind = || std::net::UdpSocket::bind((Topology::CLIENT[1], 0));
    let socket = case.client().run(bind).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let from = socket.local_addr().unwrap();
    let to = node_port(1, NODE_DNS);
    let datagram = packets::udp(from, to, b"q");
    let mut chain = Vec::new();
    for index in 0..headers {
        let next = if index + 1 == headers { IpNumber::UDP.0 } else { 60 };
        chain.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    let transport = &datagram[40..];
    let ip = ip_header(from.ip(), to.ip(), chain.len() + transport.len(), IpNumber(60));
    let etherparse::IpHeaders::Ipv6(ip, _) = ip else { unreachable!("an IPv6 packet") };
    sender.send(&[&ip.to_bytes()[..], &chain, transport].concat());
    let mut buffer = [0; 500];
    let answer = socket.recv(&mut buffer);
    let counters = case.topology.node.firewall_counters();
    let length = answer.unwrap_or_else(|error| panic!("{headers} headers: {error}\n{counters}"));
    assert!(String::from_utf8_lossy(&buffer[..length]).contains("p1"));
}

/// IPv4 addresses in IPv6 packets are martians, in both directions.
#[test]
fn row_mapped2() {
    privileged!();
    let case = Case::new(&[]);
    // Everything but documentation addresses is denied; 198.51.100.90 is the load balancer's.
    case.setup.write("guarded.yaml", &guarded());
    let _agent = case.start();
    let sender = sender(&case);
    let arrived = RawSocket::open(&case.pod(1).namespace, "eth0").unwrap();
    let balancer = SocketAddr::new(ip("::ffff:198.51.100.90"), DNS);
    for source in ["2001:db8::10", "::ffff:198.18.0.1", "::ffff:192.0.2.10"] {
        sender.send(&packets::udp((ip(source), 5556).into(), balancer, b"MAPPED"));
    }
    let own = SocketAddr::new(ip("198.51.100.90"), DNS);
    sender.send(&packets::udp((ip("192.0.2.10"), 5557).into(), own, b"PLAIN"));
    let has = |text: &'static [u8]| move |frame: &[u8]| frame.windows(text.len()).any(|bytes| bytes == text);
    let plain = arrived.receive(Duration::from_secs(5), has(b"PLAIN")).unwrap();
    assert!(plain.is_some(), "the control did not arrive");
    // What was sent before the control would be here by now.
    let arrived = RawSocket::open(&case.pod(1).namespace, "eth0").unwrap();
    for source in ["2001:db8::10", "::ffff:198.18.0.1", "::ffff:192.0.2.10"] {
        sender.send(&packets::udp((ip(source), 5556).into(), balancer, b"MAPPED"));
    }
    assert_eq!(arrived.receive(SILENCE, has(b"MAPPED")).unwrap(), None);
}

fn guarded() -> String {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: guarded, namespace: default}\nspec:\n  \
                   type: LoadBalancer\n  clusterIP: 10.96.0.90\n  loadBalancerSourceRanges: [192.0.2.0/24]\n  ports:\n  \
                   - {name: u, port: 53, targetPort: 53, protocol: UDP}\n\
                   status: {loadBalancer: {ingress: [{ip: 198.51.100.90}]}}\n";
    service.to_owned() + &slice("guarded", "IPv4", &[("u", "UDP", DNS)], &[(pod(1)[0], Some("n1"))])
}

/// Sources that the kernel would not let in reach no endpoint, whichever way a packet goes.
#[test]
fn row_spoof() {
    privileged!();
    const SPOOFED: [&str; 12] = [
        "11.1.1.1",
        "10.1.1.112",
        "10.1.1.111",
        "192.0.2.1",
        "127.0.0.1",
        "10.96.0.80",
        "169.254.169.254",
        "224.0.0.5",
        "255.255.255.255",
        "192.0.2.255",
        "240.0.0.1",
        "0.0.0.0",
    ];
    // IPv6 has no `rp_filter`: an address that the node has a way to may come by any interface.
    const SPOOFED_V6: [&str; 5] = ["fd00:1::112", "fd00:1::111", "2001:db8::1", "::1", "ff02::1"];
    let mut case = Case::new(&[1]);
    // Also an endpoint elsewhere, for packets that do not go through the stack.
    case.setup.write("far.yaml", &far());
    let backbone = case.topology.backbone.as_ref().expect("a hostile node has a second uplink");
    let far_arrived = RawSocket::open(backbone, "eth0").unwrap();
    case.setup = case.setup.arguments(["--interface", Topology::SECOND_INTERFACE]);
    let _agent = case.start();
    let sender = sender(&case);
    let arrived = RawSocket::open(&case.pod(1).namespace, "eth0").unwrap();
    let v4 = [node_port(0, NODE_DNS), vip(0, DNS), node_port(0, 30_077)];
    let v6 = [node_port(1, NODE_DNS), vip(1, DNS), node_port(1, 30_077)];
    let spoofed =
        SPOOFED.iter().map(|source| (source, v4)).chain(SPOOFED_V6.iter().map(|source| (source, v6)));
    for (source, targets) in spoofed {
        for to in targets {
            sender.send(&packets::udp((ip(source), 4000).into(), to, format!("FROM {source} ").as_bytes()));
        }
    }
    let is_spoofed = |frame: &[u8]| frame.windows(5).any(|bytes| bytes == b"FROM ");
    let mut seen = Vec::new();
    for (name, socket) in [("the pod", &arrived), ("the other network", &far_arrived)] {
        while let Some(frame) = socket.receive(SILENCE, is_spoofed).unwrap() {
            let at = frame.windows(5).position(|bytes| bytes == b"FROM ").unwrap();
            let text = String::from_utf8_lossy(&frame[at..]);
            seen.push(format!("{name}: {text}as {}", packets::described(&frame)));
        }
    }
    assert!(seen.is_empty(), "arrived at\n{}", seen.join("\n"));
    // The control: a true source arrives.
    case.check_served(From::Client, Transport::UdpUnconnected, node_port(0, NODE_DNS));
    sender.send(&packets::udp((Topology::CLIENT[0], 4000).into(), node_port(0, 30_077), b"FROM the client"));
    let control = far_arrived.receive(Duration::from_secs(5), is_spoofed).unwrap();
    assert!(control.is_some(), "the control did not arrive at the other network");
}

/// A Service whose endpoints are behind the second uplink, node port 30077.
fn far() -> String {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: default}\nspec:\n  \
                   type: NodePort\n  clusterIP: 10.96.0.77\n  clusterIPs: [10.96.0.77, 'fd96::77']\n  \
                   ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: RequireDualStack\n  ports:\n  \
                   - {name: u, port: 53, targetPort: 53, nodePort: 30077, protocol: UDP}\n";
    let ports = [("u", "UDP", DNS)];
    let [v4, v6]: [IpAddr; 2] = Topology::BACKBONE;
    service.to_owned()
        + &slice("far", "IPv4", &ports, &[(v4, Some("n2"))])
        + &slice("far", "IPv6", &ports, &[(v6, Some("n2"))])
}

/// The source of an IPv6 packet.
fn source(packet: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    Some(IpAddr::from(bytes))
}

/// Fragments in any order, twice, and of two clients at once (calico#8821, cilium#11180).
#[test]
fn row_13_fragments() {
    privileged!();
    const SIZE: usize = 800;
    const BYTES: usize = 2000;
    for settings in
        [NodeSettings::hostile(), NodeSettings::gentle("nobody else puts fragments together here")]
    {
        let case = Case::with(settings, &[1]);
        let _agent = case.start();
        let sender = sender(&case);
        for family in 0..2 {
            for to in [SocketAddr::new(pod(1)[family], DNS), node_port(family, NODE_DNS), vip(family, DNS)] {
                for order in ["in order", "reversed", "twice", "last first"] {
                    let bind = || std::net::UdpSocket::bind((Topology::CLIENT[family], 0));
                    let socket = case.client().run(bind).unwrap().unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                    let from = socket.local_addr().unwrap();
                    let mut parts = packets::fragments(&packets::udp(from, to, &[b'f'; BYTES]), SIZE);
                    match order {
                        "reversed" => parts.reverse(),
                        "twice" => parts.extend(parts.clone()),
                        "last first" => parts.rotate_right(1),
                        _ => {}
                    }
                    parts.iter().for_each(|part| sender.send(part));
                    let answer = socket.recv(&mut [0; 2 * BYTES]);
                    let settings = case.topology.node.settings().firewall;
                    assert_eq!(answer.ok(), Some(BYTES), "{to}, fragments {order}, firewall {settings:?}");
                }
            }
        }
    }
}
