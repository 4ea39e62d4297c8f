//! Rules and translations of others: firewalls, the CNI plugin's masquerading, a bridge.

use std::net::SocketAddr;

use seaway_harness::privileged;
use seaway_lab::{
    Firewall, NodeSettings, Topology,
    probe::{Outcome, Transport},
};
use seaway_tests::nodes::case::{Case, DNS, From, NODE_WEB, WEB, node_port, pod, vip, web, web_at};

/// Connections to the same server, so that some of their ports are node ports.
const CONNECTIONS: usize = 300;

/// The stack sees both directions of a flow, or neither.
#[test]
fn row_04_invalid() {
    privileged!();
    for policy in ["Cluster", "Local"] {
        let settings = NodeSettings {
            firewall: Firewall::DropInvalid,
            ..NodeSettings::gentle("the report is about this rule alone; the matrix has the others")
        };
        let case = Case::with(settings, &[1]);
        case.setup.write("web.yaml", &web(&[1], &format!("  externalTrafficPolicy: {policy}\n")));
        let _agent = case.start();
        for family in 0..2 {
            let direct = SocketAddr::new(pod(1)[family], WEB);
            case.check_served(From::Client, Transport::Exchange, direct);
            for from in [From::Client, From::Pod(3), From::Machine(3), From::Node] {
                case.check_served(from, Transport::Exchange, vip(family, WEB));
            }
            case.check_served(From::Client, Transport::Exchange, node_port(family, NODE_WEB));
        }
        assert_eq!(case.topology.node.firewall_counters(), "", "policy {policy}");
    }
}

/// Pods on a bridge, client and endpoint on one node, whether the bridge's packets see the firewall.
#[test]
fn row_10_bridge() {
    privileged!();
    use seaway_lab::Layout;
    use seaway_tests::nodes::{Matrix, Nodes};
    for bridge_netfilter in [false, true] {
        let settings = NodeSettings { bridge_netfilter, ..NodeSettings::hostile() };
        for pod_interface in ["cni0", "veth*"] {
            let setup = seaway_harness::AgentSetup::new([Layout::Bridge.uplink()]);
            let setup = setup.arguments(["--pod-interface", pod_interface, "--node-name", "n1"]);
            let setup = setup.arguments(seaway_tests::nodes::RANGES);
            let nodes = Nodes::new(Layout::Bridge, &settings, setup);
            let _agent = nodes.start();
            let (_, failures) = Matrix::new(&nodes).ask();
            let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
            assert!(
                failures.is_empty(),
                "bridge-nf-call-iptables={bridge_netfilter}, --pod-interface {pod_interface}:\n{}",
                failures.join("\n")
            );
        }
    }
}

/// Connections that the kernel masquerades, with ports that are node ports too, belong to their flow.
#[test]
fn row_24b_random_fully() {
    privileged!();
    let mut case = Case::new(&[1]);
    // Every port of the range is a node port: what comes back to one of them is an answer.
    case.setup.write("ports.yaml", &many_node_ports());
    let server = [Topology::CLIENT[0]];
    case.serve(From::Client, "outside", &server, &[8080], &[8080]);
    case.node().set("net/ipv4/ip_local_port_range", "32768 60999").unwrap();
    let _agent = case.start();
    for (transport, from) in [(Transport::Tcp, From::Machine(3)), (Transport::Udp, From::Machine(3))] {
        let mut prober = case.prober(from);
        let probe = seaway_tests::network::question(transport, (server[0], 8080).into());
        // The kernel gives masqueraded connections ports of the range that they came from: below 1024
        // stays below, the rest is 1024 to 65535.
        let lost: Vec<Outcome> = (0..CONNECTIONS)
            .map(|_| {
                let probe = seaway_lab::probe::Probe { timeout_ms: 3000, ..probe.clone() };
                prober.ask(&probe).unwrap()
            })
            .filter(|outcome| outcome.name() != Some("outside"))
            .collect();
        assert!(lost.is_empty(), "{transport:?}: {} of {CONNECTIONS} lost: {:?}", lost.len(), lost.first());
    }
}

/// Eight Services with 250 node ports each.
fn many_node_ports() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for service in 0..8_u16 {
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: np{service}, namespace: default}}\nspec:\n  \
             type: NodePort\n  clusterIP: 10.96.3.{}\n  ports:\n",
            service + 1
        )
        .unwrap();
        for protocol in ["TCP", "UDP"] {
            for port in 0..250 {
                let (own, node) = (1000 + port, 30_100 + service * 250 + port);
                writeln!(
                    text,
                    "  - {{name: {protocol}{port}, port: {own}, nodePort: {node}, protocol: {protocol}}}"
                )
                .unwrap();
            }
        }
        write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: np{service}-1\n  \
             namespace: default\n  labels: {{kubernetes.io/service-name: np{service}}}\naddressType: IPv4\nports:\n"
        )
        .unwrap();
        for protocol in ["TCP", "UDP"] {
            for port in 0..250 {
                writeln!(text, "- {{name: {protocol}{port}, protocol: {protocol}, port: 80}}").unwrap();
            }
        }
        text.push_str("endpoints: [{addresses: [10.1.1.111], nodeName: n1}]\n");
    }
    text
}

/// What leaves the cluster is masqueraded by the CNI plugin, and a Service's endpoint is outside.
#[test]
fn row_30_cni_masquerade() {
    privileged!();
    let mut case = Case::new(&[]);
    let outside = Topology::CLIENT;
    case.serve(From::Client, "outside", &outside, &[WEB], &[DNS]);
    for affinity in ["None", "ClientIP"] {
        case.setup
            .write("web.yaml", &web_at(&[(outside, None)], &format!("  sessionAffinity: {affinity}\n")));
        let agent = case.start();
        for from in [From::Pod(3), From::Machine(3)] {
            for family in 0..2 {
                for _ in 0..10 {
                    case.check_served(from, Transport::Exchange, vip(family, WEB));
                    case.check_served(from, Transport::UdpUnconnected, vip(family, DNS));
                }
            }
        }
        assert!(agent.terminate().success());
    }
}
