//! What programs do with sockets.

use std::{net::SocketAddr, time::Duration};

use seaway_harness::{privileged, wait_for};
use seaway_lab::{
    Route, Topology,
    probe::{Outcome, Probe, ProbeProcess, Transport},
};
use seaway_tests::nodes::case::{
    Case, DNS, From, NODE_DNS, NODE_WEB, WEB, ip, node_port, pod, slice, vip, web,
};

const PATIENCE_MS: u64 = 5000;

fn ask(prober: &mut ProbeProcess, probe: &Probe) -> Outcome {
    prober.ask(&Probe { timeout_ms: PATIENCE_MS, ..probe.clone() }).unwrap()
}

/// Asks and checks who answers, and that the socket names the address that was asked.
#[track_caller]
fn check(prober: &mut ProbeProcess, probe: &Probe, names: &[&str]) {
    let outcome = ask(prober, probe);
    match &outcome {
        Outcome::Answered { answer, remote } if *remote == probe.to && names.contains(&&*answer.name) => {}
        _ => panic!("{:?} to {}: {outcome:?}", probe.transport, probe.to),
    }
}

/// Node ports on every loopback address and on none, sockets that are bound there, MPTCP, mapped
/// addresses.
#[test]
fn row_01_sockets() {
    privileged!();
    let case = Case::new(&[1, 2]);
    let _agent = case.start();
    let pods = ["p1", "p2"];
    for from in [From::Node, From::Pod(3)] {
        let mut prober = case.prober(from);
        for family in 0..2 {
            for transport in [Transport::Tcp, Transport::Exchange, Transport::Mptcp] {
                check(&mut prober, &Probe::new(transport, vip(family, WEB)), &pods);
            }
            for transport in [Transport::Udp, Transport::UdpUnconnected] {
                check(&mut prober, &Probe::new(transport, vip(family, DNS)), &pods);
            }
            check(&mut prober, &Probe::new(Transport::Tcp, node_port(family, NODE_WEB)), &pods);
        }
        let mapped = |port| SocketAddr::new(ip("::ffff:10.96.0.80"), port);
        check(&mut prober, &Probe::new(Transport::Tcp, mapped(WEB)), &pods);
        check(&mut prober, &Probe::new(Transport::Udp, mapped(DNS)), &pods);
        check(&mut prober, &Probe::new(Transport::UdpUnconnected, mapped(DNS)), &pods);
    }
    // Nobody but the node has node ports on loopback.
    let mut node = case.prober(From::Node);
    let mut failed = Vec::new();
    for address in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
        for (transport, port) in [(Transport::Tcp, NODE_WEB), (Transport::UdpUnconnected, NODE_DNS)] {
            let to = SocketAddr::new(ip(address), port);
            let outcome = ask(&mut node, &Probe::new(transport, to));
            if !outcome.name().is_some_and(|name| pods.contains(&name)) {
                failed.push(format!("{to} by {transport:?}: {outcome:?}"));
            }
        }
    }
    // A socket that is bound to loopback and has a port cannot be moved off it by a hook, and the kernel sends
    // nothing from there to an endpoint. It is refused in the end, and its connect does not fail with EINVAL.
    for (bound, to) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let from = Some(SocketAddr::new(ip(bound), 0));
        for (transport, port) in
            [(Transport::Tcp, NODE_WEB), (Transport::Udp, NODE_DNS), (Transport::UdpUnconnected, NODE_DNS)]
        {
            let to = SocketAddr::new(ip(to), port);
            let outcome = ask(&mut node, &Probe { from, ..Probe::new(transport, to) });
            let served = outcome.name().is_some_and(|name| pods.contains(&name));
            if !served && !matches!(outcome, Outcome::Refused | Outcome::Timeout) {
                failed.push(format!("{to} by {transport:?}, bound to {bound}: {outcome:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// connect of UDP sends nothing and succeeds, whatever is there: glibc sorts addresses by it.
#[test]
fn row_02_getaddrinfo() {
    privileged!();
    let case = Case::new(&[1]);
    case.setup.write("empty.yaml", &empty());
    let _agent = case.start();
    for from in [From::Node, From::Pod(3), From::Machine(3)] {
        let mut prober = case.prober(from);
        for family in 0..2 {
            // A port that is TCP alone, one that is none, none at all, and a Service without endpoints.
            let empty = (ip(["10.96.0.91", "fd96::91"][family]), DNS).into();
            for to in [vip(family, WEB), vip(family, 9), vip(family, 0), empty] {
                let outcome = ask(&mut prober, &Probe::new(Transport::UdpConnect, to));
                assert_eq!(outcome.name(), Some("connected"), "{from:?}, {to}: {outcome:?}");
            }
            // The datagram gets the error.
            for to in [vip(family, WEB), empty] {
                let outcome = ask(&mut prober, &Probe::new(Transport::Udp, to));
                assert_eq!(outcome, Outcome::Refused, "{from:?}, {to}");
            }
        }
    }
    // A family that the pod does not have comes last because its connect fails.
    let pod = &case.pod(2).namespace;
    pod.set("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    let mut prober = case.prober(From::Pod(2));
    let outcome = ask(&mut prober, &Probe::new(Transport::UdpConnect, vip(1, WEB)));
    assert_eq!(outcome, Outcome::Unreachable);
    let outcome = ask(&mut prober, &Probe::new(Transport::UdpConnect, vip(0, WEB)));
    assert_eq!(outcome.name(), Some("connected"), "{outcome:?}");
}

/// A Service without endpoints.
fn empty() -> String {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: default}\nspec:\n  \
                   clusterIP: 10.96.0.91\n  clusterIPs: [10.96.0.91, 'fd96::91']\n  ipFamilies: [IPv4, IPv6]\n  \
                   ipFamilyPolicy: RequireDualStack\n  ports:\n  - {name: u, port: 53, protocol: UDP}\n";
    let ports = [("u", "UDP", DNS)];
    service.to_owned() + &slice("empty", "IPv4", &ports, &[]) + &slice("empty", "IPv6", &ports, &[])
}

/// Sockets that were there before the agent are translated on their way out.
#[test]
fn row_12_sockets_from_before() {
    privileged!();
    let case = Case::new(&[1]);
    // As a default route has it; without, the kernel refuses to connect.
    for service in ["10.96.0.0/16", "fd96::/108"] {
        let service: ipnet::IpNet = service.parse().unwrap();
        let index = usize::from(service.addr().is_ipv6());
        case.node().add_route(&Route::to(service).via(Topology::CLIENT[index])).unwrap();
    }
    let places = [From::Node, From::Pod(3)];
    let mut probers = places.map(|place| case.prober(place));
    let hasty = |transport, family| Probe {
        flow: Some(format!("{transport:?} {family}")),
        timeout_ms: 200,
        ..Probe::new(transport, vip(family, DNS))
    };
    let kinds = [
        (Transport::Udp, 0),
        (Transport::Udp, 1),
        (Transport::UdpUnconnected, 0),
        (Transport::UdpUnconnected, 1),
    ];
    for prober in &mut probers {
        for (transport, family) in kinds {
            let outcome = prober.ask(&hasty(transport, family)).unwrap();
            assert_eq!(outcome.name(), None, "nobody serves yet: {outcome:?}");
        }
    }
    let _agent = case.start();
    let mut failed = Vec::new();
    for (place, prober) in places.into_iter().zip(&mut probers) {
        for (transport, family) in kinds {
            let outcomes: Vec<_> = (0..3).map(|_| ask(prober, &hasty(transport, family))).collect();
            let is_right = |outcome: &Outcome| matches!(outcome, Outcome::Answered { answer, remote } if answer.name == "p1" && *remote == vip(family, DNS));
            if !outcomes.iter().all(is_right) {
                failed.push(format!("{place:?}, {transport:?}, family {family}: {outcomes:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), case.topology.node.firewall_counters());
}

/// Two Services with one endpoint, asked by one unconnected socket, and by the node the endpoint itself: each
/// answer bears the address that was asked.
#[test]
fn row_01_sockets_two_services_one_endpoint() {
    privileged!();
    let case = Case::new(&[1]);
    let second = web(&[1], "").replace("name: web", "name: other").replace("10.96.0.80", "10.96.0.81");
    let second = second.replace("fd96::80", "fd96::81").replace("service-name: web", "service-name: other");
    let second = second
        .replace("NodePort", "ClusterIP")
        .replace(", nodePort: 30080", "")
        .replace(", nodePort: 30053", "");
    let second = second.replace("other-ipv", "second-ipv");
    case.setup.write("other.yaml", &second);
    let agent = case.start();
    for from in [From::Pod(3), From::Node] {
        let mut prober = case.prober(from);
        for family in 0..2 {
            let other = SocketAddr::new(ip(["10.96.0.81", "fd96::81"][family]), DNS);
            let direct = SocketAddr::new(pod(1)[family], DNS);
            let all = [vip(family, DNS), other, vip(family, DNS), direct, other, direct, vip(family, DNS)];
            // The answer to a pod's own question to the endpoint has the tuple of an answer of the Service: from one
            // port, the Service's flow has both.
            let asked = all.into_iter().filter(|to| matches!(from, From::Node) || *to != direct);
            for to in asked {
                let probe =
                    Probe { flow: Some(family.to_string()), ..Probe::new(Transport::UdpUnconnected, to) };
                check(&mut prober, &probe, &["p1"]);
            }
        }
    }
    drop(agent);
}

/// An endpoint that goes: sockets live on and keep their port, those of mapped addresses too, and a
/// source port that was used before its Service came works. Held before; stays so.
#[test]
fn row_32_udp_removal() {
    privileged!();
    let case = Case::new(&[1, 2]);
    let mut agent = case.start();
    let mapped = SocketAddr::new(ip("::ffff:10.96.0.80"), DNS);
    let asked = [
        (Transport::UdpUnconnected, vip(0, DNS)),
        (Transport::Udp, vip(0, DNS)),
        (Transport::Udp, mapped),
        (Transport::UdpUnconnected, mapped),
        (Transport::Udp, vip(1, DNS)),
        (Transport::UdpUnconnected, vip(1, DNS)),
    ];
    let places = [From::Node, From::Pod(3)];
    let mut probers = places.map(|place| case.prober(place));
    let question = |transport, to: SocketAddr| Probe {
        flow: Some(format!("{transport:?} {to}")),
        ..Probe::new(transport, to)
    };
    for prober in &mut probers {
        for (transport, to) in asked {
            check(prober, &question(transport, to), &["p1", "p2"]);
        }
    }
    agent.apply("web.yaml", &web(&[2], ""));
    for (place, prober) in places.into_iter().zip(&mut probers) {
        for (transport, to) in asked {
            let first = ask(prober, &question(transport, to));
            let second = ask(prober, &question(transport, to));
            // The node's connected socket is ended with its endpoint: its owner connects anew.
            let ended = transport == Transport::Udp
                && matches!(place, From::Node)
                && matches!(&second, Outcome::Failed(text) if text.contains("os error 89"));
            let right = second.name() == Some("p2") || ended;
            assert!(right, "{place:?}, {transport:?} to {to}: {first:?}, {second:?}");
        }
    }

    // A flow to a load balancer's address that has no Service yet.
    let balancer = SocketAddr::new(ip("203.0.113.77"), DNS);
    let mut client = case.prober(From::Client);
    let early = Probe {
        flow: Some("early".into()),
        timeout_ms: 300,
        ..Probe::new(Transport::UdpUnconnected, balancer)
    };
    assert_eq!(client.ask(&early).unwrap().name(), None);
    let late = "apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: default}\nspec:\n  \
                type: LoadBalancer\n  clusterIP: 10.96.7.7\n  ports: [{name: u, port: 53, protocol: UDP}]\n\
                status: {loadBalancer: {ingress: [{ip: 203.0.113.77}]}}\n";
    let endpoints = slice("late", "IPv4", &[("u", "UDP", DNS)], &[(pod(2)[0], Some("n1"))]);
    agent.apply("late.yaml", &(late.to_owned() + &endpoints));
    wait_for("an answer to a socket from before", Duration::from_secs(5), || {
        client.ask(&early).unwrap().name() == Some("p2")
    });
}
