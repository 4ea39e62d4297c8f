//! Addresses that are the node's own and a Service's as well.

use std::{net::SocketAddr, time::Duration};

use seaway_harness::{AgentSetup, privileged, wait_for};
use seaway_lab::{
    Layout, NodeSettings, Topology, TwoNodes,
    echo::{EchoProcess, Listener, Protocol},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};
use seaway_tests::nodes::{
    NAME, Nodes, RANGES,
    case::{Case, DNS, From, NODE_WEB, WEB, ip, node, slice, web},
};

const HTTPS: u16 = 443;

/// Bare-metal ingress: external addresses are the nodes' own, endpoints are host-network pods at the
/// same port. Translated once, then let out.
#[test]
fn row_11b_ingress_on_node_addresses() {
    privileged!();
    for target in [HTTPS, 8443] {
        let layout = Layout::PointToPoint;
        let setup = AgentSetup::new([layout.uplink()]).arguments(["--pod-interface", "veth*"]);
        let setup = setup.arguments(RANGES).arguments(NAME);
        setup.write("ingress.yaml", &ingress(target));
        let nodes = Nodes::new(layout, &NodeSettings::hostile(), setup);
        let places = [("n1", TwoNodes::N1, true), ("n2", nodes.network.n2(), false)];
        let mut servers = Vec::new();
        for ((name, addresses, is_own), node) in places.into_iter().zip(&nodes.network.nodes) {
            node.open_ports(&[HTTPS, target]).unwrap();
            let listener = |address| Listener {
                name: name.into(),
                protocol: Protocol::Tcp,
                address: (address, target).into(),
            };
            let cgroup = is_own.then(|| nodes.setup.cgroup());
            let launcher = seaway_harness::launcher();
            let listeners = addresses.map(listener);
            servers.push(EchoProcess::start(node.namespace(), &launcher, cgroup, &listeners).unwrap());
        }
        let _agent = nodes.start();
        let hooked = Some(nodes.setup.cgroup());
        let clients = [
            ("node", nodes.n1(), hooked),
            ("pod", &nodes.network.local[1].namespace, hooked),
            ("virtual machine", &nodes.network.local[1].namespace, None),
            ("client", &nodes.network.client, None),
        ];
        let mut failed = Vec::new();
        for (client, namespace, cgroup) in clients {
            let mut prober = ProbeProcess::start(namespace, &seaway_harness::launcher(), cgroup).unwrap();
            for family in 0..2 {
                for to in
                    [TwoNodes::N1[family], nodes.network.n2()[family], ip(["10.96.0.90", "fd96::90"][family])]
                {
                    if client == "client" && to == nodes.network.n2()[family] {
                        // It would not come by this node.
                        continue;
                    }
                    for _ in 0..16 {
                        let probe = Probe {
                            size: 8192,
                            timeout_ms: 4000,
                            ..Probe::new(Transport::Exchange, (to, HTTPS).into())
                        };
                        let outcome = prober.ask(&probe).unwrap();
                        if outcome.name().is_none() {
                            failed.push(format!("{client} to {to}, endpoints at {target}: {outcome:?}"));
                            break;
                        }
                    }
                }
            }
        }
        assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), nodes.network.nodes[0].firewall_counters());
    }
}

fn ingress(target: u16) -> String {
    let [[n1, n1_v6], [n2, n2_v6]] = [TwoNodes::N1, [ip("192.0.2.2"), ip("2001:db8::2")]];
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: ingress, namespace: default}}\nspec:\n  clusterIP: 10.96.0.90\n  \
         clusterIPs: [10.96.0.90, 'fd96::90']\n  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: RequireDualStack\n  \
         externalIPs: [{n1}, {n2}, '{n1_v6}', '{n2_v6}']\n  ports: [{{name: a, port: {HTTPS}, targetPort: {target}}}]\n"
    );
    let ports = [("a", "TCP", target)];
    text += &slice("ingress", "IPv4", &ports, &[(n1, Some("n1")), (n2, Some("n2"))]);
    text += &slice("ingress", "IPv6", &ports, &[(n1_v6, Some("n1")), (n2_v6, Some("n2"))]);
    text
}

/// A load balancer's address on the node's own link, NodeLocal DNS on its loopback, a process at a node
/// port, and an address that changes.
fn check_own_addresses(policy: &str) {
    let mut case = Case::new(&[1]);
    let balancer = ip("192.0.2.50");
    let local_dns = ip("10.96.0.10");
    let balanced = web(&[1], &format!("  externalTrafficPolicy: {policy}\n"))
        .replace("type: NodePort", "type: LoadBalancer")
        .replacen("---\n", "status: {loadBalancer: {ingress: [{ip: 192.0.2.50}]}}\n---\n", 1);
    case.setup.write("web.yaml", &balanced);
    let dns = "apiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\n\
               spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}]}\n";
    let endpoints = slice("kube-dns", "IPv4", &[("dns", "UDP", DNS)], &[(ip("10.1.1.111"), Some("n1"))]);
    case.setup.write(
        "dns.yaml",
        &(dns.to_owned() + &endpoints.replace("namespace: default", "namespace: kube-system")),
    );
    case.node().add_address(Topology::CLIENT_INTERFACE, balancer.into()).unwrap();
    case.node().add_address("lo", local_dns.into()).unwrap();
    let own = [balancer, Topology::NODE[0], ip("127.0.0.1")];
    case.serve(From::Node, "node-process", &own, &[22, NODE_WEB], &[]);
    case.serve(From::Node, "node-local-dns", &[local_dns], &[], &[DNS]);
    case.topology.node.open_ports(&[22, DNS]).unwrap();
    let agent = case.start();
    let mut failed = Vec::new();
    let mut check = |from: From, transport, to: SocketAddr, name: &str| {
        let outcome = case.ask(from, transport, to);
        if outcome.name() != Some(name) {
            failed.push(format!("policy {policy}, {from:?} to {to}: {outcome:?}, not {name}"));
        }
    };
    for from in [From::Client, From::Node, From::Pod(3), From::Machine(3)] {
        check(from, Transport::Tcp, (balancer, WEB).into(), "p1");
    }
    check(From::Client, Transport::Tcp, (balancer, 22).into(), "node-process");
    check(From::Machine(3), Transport::Tcp, (balancer, 22).into(), "node-process");
    check(From::Client, Transport::Tcp, (Topology::NODE[0], NODE_WEB).into(), "p1");
    // Found on the node and left alone: what is asked there is asked of the node's own server.
    for from in [From::Pod(3), From::Machine(3), From::Node] {
        check(from, Transport::UdpUnconnected, (local_dns, DNS).into(), "node-local-dns");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));

    let (old, new) = (Topology::NODE[0], ip("192.0.2.3"));
    let node_namespace = case.node();
    node_namespace.remove_address(Topology::CLIENT_INTERFACE, ipnet::IpNet::new(old, 24).unwrap()).unwrap();
    node_namespace.add_address(Topology::CLIENT_INTERFACE, ipnet::IpNet::new(new, 24).unwrap()).unwrap();
    agent.write("node.yaml", &node([new, Topology::NODE[1]]));
    let mut client = case.prober(From::Client);
    let mut asked = |address, timeout_ms| {
        let probe = Probe { timeout_ms, ..Probe::new(Transport::Tcp, SocketAddr::new(address, NODE_WEB)) };
        client.ask(&probe).unwrap()
    };
    wait_for("service at the new address", Duration::from_secs(10), || asked(new, 1000).name() == Some("p1"));
    let outcome = asked(old, 500);
    assert!(!matches!(outcome, Outcome::Answered { .. }), "the old address still answers");
}

#[test]
fn row_25_own_addresses() {
    privileged!();
    check_own_addresses("Cluster");
}

#[test]
fn row_25b_own_addresses_local() {
    privileged!();
    check_own_addresses("Local");
}
