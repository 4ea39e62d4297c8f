//! Row 11 of the feature table: the health check ports of Services, asked by sockets on the node.

#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use seaway_harness::{privileged, wait_for};
use seaway_lab::Topology;
use seaway_tests::network::Network;

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 31_000;
const TAKEN: u16 = 31_001;

/// A load balancer's Service with a health check port, and its endpoints: the node of each.
fn manifest(name: &str, last: u8, port: u16, nodes: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
         externalTrafficPolicy: Local\n  healthCheckNodePort: {port}\n  clusterIP: 10.96.1.{last}\n  \
         clusterIPs: [10.96.1.{last}, 'fd96::1:{last}']\n  ports: [{{port: 80}}]\n"
    );
    for (family, prefix) in [("IPv4", "10.1.9."), ("IPv6", "fd77:9::")] {
        let endpoint = |(index, node): (usize, &&str)| {
            format!("{{addresses: ['{prefix}{}'], nodeName: {node}}}", index + 1)
        };
        let endpoints: Vec<String> = nodes.iter().enumerate().map(endpoint).collect();
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{}\n  \
             labels: {{kubernetes.io/service-name: {name}}}\naddressType: {family}\n\
             ports: [{{port: 8080}}]\nendpoints: [{}]\n",
            family.to_lowercase(),
            endpoints.join(", ")
        );
    }
    text
}

/// The status and the line with the count, as a load balancer beside the node gets them.
fn told(network: &Network, family: usize, port: u16) -> Option<(u16, String)> {
    let from = &network.topology.client;
    let (status, body) = network.get_at(from, SocketAddr::new(Topology::NODE[family], port), "/any")?;
    let line = body.lines().find(|line| line.contains("localEndpoints"))?;
    Some((status, line.trim().to_owned()))
}

#[track_caller]
fn check(network: &Network, port: u16, status: u16, endpoints: usize) {
    let expected = Some((status, format!("\"localEndpoints\": {endpoints},")));
    for family in [0, 1] {
        wait_for("the count", PATIENCE, || told(network, family, port) == expected);
    }
}

#[test]
fn row_11_a_health_check_port_tells_how_many_endpoints_the_node_has() {
    privileged!();
    let mut network = Network::new(&[0]);
    // The network has no default route, and so no primary address.
    let arguments = ["--node-name", "n1", "--nodeport-addresses", "192.0.2.0/24,2001:db8::/64"];
    network.setup = network.setup.arguments(arguments);
    network.setup.write("web.yaml", &manifest("web", 1, PORT, &["n1", "n2", "n1"]));
    let mut agent = network.start();
    check(&network, PORT, 200, 2);
    // Only on the addresses of node ports.
    assert_eq!(network.get(PORT, "/"), None);
    agent.write("web.yaml", &manifest("web", 1, PORT, &["n2"]));
    check(&network, PORT, 503, 0);
    agent.write("web.yaml", &manifest("web", 1, TAKEN, &["n1"]));
    check(&network, TAKEN, 200, 1);
    assert_eq!(told(&network, 0, PORT), None);
    // A Service whose traffic may go anywhere needs no check.
    let anywhere = manifest("web", 1, TAKEN, &["n1"]).replace("Policy: Local", "Policy: Cluster");
    agent.write("web.yaml", &anywhere);
    wait_for("the port to close", PATIENCE, || told(&network, 0, TAKEN).is_none());
    assert!(agent.status().warnings.is_empty());
}

#[test]
fn row_11_a_port_that_another_program_has_is_reported_and_tried_again() {
    privileged!();
    let mut network = Network::new(&[0]);
    network.setup = network.setup.arguments(["--node-name", "n1", "--nodeport-addresses", "0.0.0.0/0,::/0"]);
    let take = || TcpListener::bind(("0.0.0.0", TAKEN));
    let other = network.topology.node.namespace().run(take).unwrap().unwrap();
    network.setup.write("web.yaml", &manifest("web", 1, PORT, &["n1"]));
    network.setup.write("late.yaml", &manifest("late", 2, TAKEN, &["n1"]));
    let mut agent = network.start();
    agent.wait("a warning", |status| {
        let told = format!("service default/late: cannot listen on 0.0.0.0:{TAKEN}");
        status.warnings.iter().any(|warning| warning.starts_with(&told))
    });
    check(&network, PORT, 200, 1);
    drop(other);
    check(&network, TAKEN, 200, 1);
    agent.wait("no warning", |status| status.warnings.is_empty());
    // Two Services change places.
    agent.write("web.yaml", &manifest("web", 1, TAKEN, &["n1", "n1"]));
    agent.write("late.yaml", &manifest("late", 2, PORT, &["n1"]));
    check(&network, TAKEN, 200, 2);
    check(&network, PORT, 200, 1);
}
