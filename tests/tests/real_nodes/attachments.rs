//! Interfaces that come, go and have names, and programs of others.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use seaway_harness::{AgentSetup, privileged, skip, test_name, wait_for};
use seaway_lab::{
    End, Layout, Namespace, NodeSettings, Route, Topology, Veth,
    probe::{Outcome, Probe, Transport},
};
use seaway_tests::nodes::{
    Matrix, NAME, Nodes, RANGES,
    case::{Case, DNS, From, NODE_DNS, NODE_WEB, WEB, ip, node_port, pod, vip, web_at},
};

/// Within this time an interface that came again has its programs.
const AGAIN: Duration = Duration::from_secs(2);

fn is_served(case: &Case, from: From, transport: Transport, to: SocketAddr) -> bool {
    let probe = Probe { timeout_ms: 400, ..Probe::new(transport, to) };
    case.prober(from).ask(&probe).unwrap().name().is_some()
}

/// `--interface ext0` is deleted and made again under its name.
#[test]
fn row_08_interface_again() {
    privileged!();
    let case = Case::new(&[1]);
    let _agent = case.start();
    assert!(is_served(&case, From::Client, Transport::Tcp, node_port(0, NODE_WEB)));
    let node = case.node();
    for round in 0..3 {
        node.delete_link(Topology::CLIENT_INTERFACE).unwrap();
        if round == 2 {
            // Not at once, but when the agent has seen that it is gone.
            std::thread::sleep(Duration::from_secs(3));
        }
        let on_subnet =
            |address: std::net::IpAddr| IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).unwrap();
        let near = End::new(node, Topology::CLIENT_INTERFACE).addresses(Topology::NODE.map(on_subnet));
        let far = End::new(case.client(), "eth0").addresses(Topology::CLIENT.map(on_subnet));
        Veth::new(near, far).offload(case.topology.node.settings().offload).connect().unwrap();
        for gateway in Topology::NODE {
            case.client().add_route(&Route::default_via(gateway)).unwrap();
        }
        let began = Instant::now();
        // Two seconds are the promise; the rest is for a loaded machine.
        wait_for(&format!("service after round {round}"), AGAIN * 3, || {
            is_served(&case, From::Client, Transport::Tcp, node_port(0, NODE_WEB))
        });
        println!("served after {:?}", began.elapsed());
    }
}

/// The interface gets another name: an agent told of the old one says that it is missing.
#[test]
fn row_08_interface_renamed() {
    privileged!();
    let case = Case::new(&[1]);
    let mut agent = case.start();
    let node = case.node();
    node.set_down(Topology::CLIENT_INTERFACE).unwrap();
    node.rename_link(Topology::CLIENT_INTERFACE, "wan0").unwrap();
    node.set_up("wan0").unwrap();
    agent
        .wait("a warning that names ext0", |status| status.warnings.iter().any(|text| text.contains("ext0")));
    node.set_down("wan0").unwrap();
    node.rename_link("wan0", Topology::CLIENT_INTERFACE).unwrap();
    node.set_up(Topology::CLIENT_INTERFACE).unwrap();
    agent.wait("no warning that names ext0", |status| {
        !status.warnings.iter().any(|text| text.contains("ext0"))
    });
    assert!(is_served(&case, From::Client, Transport::Tcp, node_port(0, NODE_WEB)));
}

/// A pod's interface goes and comes at once under its name, as those of a StatefulSet do.
#[test]
fn row_08b_pattern_quick() {
    privileged!();
    let case = Case::new(&[1]);
    let _agent = case.start();
    let ask = || is_served(&case, From::Machine(3), Transport::UdpUnconnected, vip(0, DNS));
    assert!(ask());
    for _ in 0..3 {
        case.node().delete_link("p3").unwrap();
        case.topology.node.link_pod(case.pod(3)).unwrap();
        wait_for("service", AGAIN * 3, ask);
    }
}

/// Names with dots (VLANs, flannel), and long ones.
#[test]
fn row_34_dot_in_name() {
    privileged!();
    for (name, flag) in [
        ("ext0.100", "ext0.100"),
        ("ext0.100", "ext*"),
        ("flannel.1", "flannel.1"),
        ("a.long.name.150", "a.long.name.150"),
        ("ext0-100", "ext0-100"),
    ] {
        let mut case = Case::new(&[1]);
        let node = case.node();
        node.set_down(Topology::CLIENT_INTERFACE).unwrap();
        node.rename_link(Topology::CLIENT_INTERFACE, name).unwrap();
        node.set_up(name).unwrap();
        node.add_address(name, IpNet::new(Topology::NODE[1], 64).unwrap()).ok();
        let setup =
            AgentSetup::new([flag]).arguments(["--pod-interface", "p*"]).arguments(RANGES).arguments(NAME);
        setup.write("web.yaml", &seaway_tests::nodes::case::web(&[1], ""));
        setup.write("node.yaml", &seaway_tests::nodes::case::node(Topology::NODE));
        case.setup = setup;
        let mut agent = case.start();
        for family in 0..2 {
            case.check_served(From::Client, Transport::Exchange, node_port(family, NODE_WEB));
        }
        assert_eq!(agent.status().warnings, Vec::<String>::new(), "{name} by {flag}");
        assert!(!agent.log().contains("WARN"), "{name} by {flag}:\n{}", agent.log());
    }
}

/// Devices without Ethernet: parsed as they are, or refused with a message that names them; never
/// attached and deaf.
#[test]
fn row_09_tun() {
    privileged!();
    let case = Case::new(&[1]);
    let vpn = Namespace::new("vpn").unwrap();
    if !connect_without_ethernet(case.node(), &vpn) {
        skip(&test_name(module_path!()), "needs VXLAN-GPE and the `ip` tool");
        return;
    }
    let case = case.arguments(["--interface", "l3dev"]);
    let trial = super::rights::start_with(&case, super::rights::NEEDED, &[]);
    let said = String::from_utf8_lossy(&trial.stderr);
    if said.lines().any(|line| line.starts_with("error:") && line.contains("l3dev")) {
        assert!(!trial.status.success(), "{said}");
        return;
    }
    // Also an endpoint behind it.
    let service = web_at(&[([ip("10.8.0.2"), ip("fd08::2")], Some("n2"))], "");
    let far = service
        .replace("name: web", "name: far")
        .replace("10.96.0.80", "10.96.0.88")
        .replace("fd96::80", "fd96::88");
    let far = far.replace("30080", "30088").replace("30053", "30058").replace("web-ip", "far-ip");
    case.setup.write("far.yaml", &far.replace("service-name: web", "service-name: far"));
    let listeners = [(WEB, seaway_lab::echo::Protocol::Tcp), (DNS, seaway_lab::echo::Protocol::Udp)];
    let listeners = listeners.map(|(port, protocol)| seaway_lab::echo::Listener {
        name: "vpn".into(),
        protocol,
        address: (ip("10.8.0.2"), port).into(),
    });
    let _server = seaway_lab::echo::serve(&vpn, &listeners).unwrap();
    case.topology.node.know_pods(&["10.8.0.0/24".parse().unwrap()]).unwrap();
    let mut agent = case.start();
    let ask = |to: SocketAddr, transport| {
        let probe = Probe { timeout_ms: 3000, size: 4096, ..Probe::new(transport, to) };
        vpn.run(|| seaway_lab::probe::Prober::default().ask(&probe)).unwrap()
    };
    let direct = ask((pod(1)[0], WEB).into(), Transport::Exchange);
    assert_eq!(direct.name(), Some("p1"), "the device itself: {direct:?}");
    let refused = agent.status().warnings.iter().any(|text| text.contains("l3dev"));
    if refused {
        return;
    }
    for (to, transport) in [
        (node_port(0, NODE_WEB), Transport::Exchange),
        (vip(0, WEB), Transport::Exchange),
        (node_port(0, NODE_DNS), Transport::Udp),
        (vip(0, DNS), Transport::Udp),
    ] {
        let outcome = ask(to, transport);
        assert_eq!(outcome.name(), Some("p1"), "{to}: {outcome:?}");
    }
    for (from, to) in [
        (From::Client, node_port(0, 30_088)),
        (From::Node, SocketAddr::new(ip("10.96.0.88"), WEB)),
        (From::Pod(3), SocketAddr::new(ip("10.96.0.88"), WEB)),
        (From::Machine(3), SocketAddr::new(ip("10.96.0.88"), WEB)),
    ] {
        let outcome = case.ask(from, Transport::Exchange, to);
        assert_eq!(outcome.name(), Some("vpn"), "{from:?} to an endpoint behind the device: {outcome:?}");
    }
}

/// `l3dev` in both namespaces, joined by VXLAN-GPE, which has no link-layer header: 10.8.0.1 and .2.
fn connect_without_ethernet(node: &Namespace, vpn: &Namespace) -> bool {
    let under = |host: &str| -> IpNet { format!("198.19.0.{host}/24").parse().unwrap() };
    let near = End::new(node, "under0").address(under("1"));
    Veth::new(near, End::new(vpn, "under0").address(under("2"))).connect().unwrap();
    let run = |namespace: &Namespace, command: &str| {
        let words = command.split(' ');
        let output = namespace.run(|| Command::new("ip").args(words).output()).unwrap();
        output.is_ok_and(|output| output.status.success())
    };
    // The tunnel's port is open in the firewall (VXLAN).
    [(node, "1", "2"), (vpn, "2", "1")].into_iter().all(|(namespace, own, other)| {
        run(namespace, "link add l3dev type vxlan dstport 4789 external gpe")
            && run(namespace, "link set l3dev up mtu 1400")
            && run(namespace, &format!("addr add 10.8.0.{own}/32 dev l3dev"))
            && run(namespace, &format!("route add 10.8.0.{other}/32 encap ip id 1 dst 198.19.0.{other} dev l3dev src 10.8.0.{own}"))
    }) && run(vpn, "route add default encap ip id 1 dst 198.19.0.1 dev l3dev src 10.8.0.2")
}

/// An XDP program of somebody else, and a tcx program: Seaway works beside them.
#[test]
fn row_18_environment_programs_of_others() {
    privileged!();
    let layout = Layout::PointToPoint;
    let setup = AgentSetup::new([layout.uplink()])
        .arguments(["--pod-interface", "veth*"])
        .arguments(RANGES)
        .arguments(NAME);
    let nodes = Nodes::new(layout, &NodeSettings::hostile(), setup);
    let _others = super::matrix::occupy_xdp(nodes.n1(), layout.uplink());
    let mut agent = nodes.start();
    let (_, failures) = Matrix::new(&nodes).ask();
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let warnings = agent.status().warnings.join("\n") + &agent.log();
    assert!(warnings.contains(layout.uplink()), "nothing says that XDP is not attached:\n{warnings}");
}

/// Odd objects are served as the API server would have them, and one bad one stops no other. Held
/// before; stays so.
#[test]
fn row_17_objects() {
    privileged!();
    let case = Case::new(&[1, 2]);
    let (objects, rows) = super::objects::odd();
    case.setup.write("odd.yaml", &objects);
    let _agent = case.start();
    let mut prober = case.prober(From::Node);
    let mut failed = Vec::new();
    for (what, to, expected) in rows {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let probe = Probe { timeout_ms: 2000, ..Probe::new(Transport::Tcp, to) };
            let word = match prober.ask(&probe).unwrap() {
                Outcome::Answered { answer, .. } => answer.name,
                outcome => format!("{outcome:?}"),
            };
            seen.insert(word);
        }
        let seen: Vec<_> = seen.into_iter().collect();
        if seen.join(" ") != expected {
            failed.push(format!("{what}: {}, not {expected}", seen.join(" ")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
