//! What `seaway explain` says: from the facts, as the running agent reads them, and from the maps.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use seaway_cluster::Protocol;
use seaway_common::Capacities;
use seaway_dataplane::explain::{Explanation, explain, in_force};
use seaway_dataplane::site::Settings;
use seaway_dataplane::sync::{Event, Sync};
use seaway_harness::{MemoryMaps, privileged, seaway_binary};
use seaway_tests::api_objects::node;
use seaway_tests::facts::{NODE, snapshot_of};
use seaway_tests::network::Network;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const MANIFEST: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {seaway.io/algorithm: ALGORITHM}}
spec:
  clusterIP: 10.96.0.1
  type: NodePort
  ports: [{port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.1.0.1], nodeName: node-1}
- {addresses: [10.1.0.2], nodeName: node-2}
- {addresses: [10.1.0.3], nodeName: node-2, conditions: {ready: false, serving: true, terminating: true}}
"#;

fn settings() -> Settings {
    let own: IpAddr = "192.0.2.1".parse().unwrap();
    Settings { addresses: [own].into(), routed: vec![own], ..Settings::default() }
}

/// What is said with these many slots in the maps.
fn explained(algorithm: &str, vip: &str, client: &str, slots: u32) -> Explanation {
    let (client, vip): (IpAddr, SocketAddr) = (client.parse().unwrap(), vip.parse().unwrap());
    let snapshot = snapshot_of(&MANIFEST.replace("ALGORITHM", algorithm));
    let site = settings().site(NODE);
    let maps = MemoryMaps::new(Capacities { slots, ..MemoryMaps::CAPACITIES });
    let mut sync = Sync::new(maps, site.clone()).unwrap();
    assert!(sync.handle(Event::Facts(snapshot.clone()), 0).error.is_none());
    let mut said = explain(&snapshot, site, client, vip, Protocol::Tcp).unwrap();
    said.in_force = in_force(sync.maps(), &said.frontend, client, said.inside, false).unwrap();
    said
}

/// The algorithm that is said to be in force, the places of its table, and whether it is known who
/// is picked.
#[track_caller]
fn check(algorithm: &str, vip: &str, slots: u32, expected: (&str, Option<u32>, bool)) {
    let said = explained(algorithm, vip, "203.0.113.9", slots);
    let found = said.in_force.expect("in force");
    assert_eq!((found.algorithm.as_str(), found.table, found.picked.is_some()), expected);
    let candidates: Vec<SocketAddr> =
        said.endpoints.iter().filter(|endpoint| endpoint.candidate).map(|it| it.address).collect();
    assert_eq!(found.candidates, candidates);
    assert!(found.picked.is_none_or(|picked| candidates.contains(&picked)));
}

#[test]
fn algorithm_and_table_are_those_in_force() {
    let (inside, outside) = ("10.96.0.1:80", "192.0.2.1:30080");
    check("random", inside, 4096, ("random", None, false));
    check("maglev", outside, 4096, ("maglev", Some(251), false));
    check("nonsense", outside, 4096, ("maglev", Some(251), false));
    check("source-hash", inside, 4096, ("source-hash", Some(251), true));
    check("least-connections", outside, 4096, ("least-connections", None, false));
    // The table does not fit: endpoints are chosen at random until it does.
    check("source-hash", outside, 64, ("random, since there is no table for source-hash", None, false));
}

#[test]
fn the_endpoint_of_a_source_hash_is_the_same_on_every_frontend() {
    let picked =
        |vip: &str, client: &str| explained("source-hash", vip, client, 4096).in_force.unwrap().picked;
    let mut all = BTreeSet::new();
    for last in 1..40 {
        let client = format!("203.0.113.{last}");
        assert_eq!(picked("10.96.0.1:80", &client), picked("192.0.2.1:30080", &client));
        all.insert(picked("10.96.0.1:80", &client));
    }
    assert_eq!(all.len(), 2);
}

#[test]
fn endpoints_are_out_by_a_rule() {
    let said = explained("random", "10.96.0.1:80", "10.1.0.9", 4096);
    let rules: Vec<&str> = said.endpoints.iter().map(|endpoint| endpoint.why.as_str()).collect();
    assert_eq!(rules, ["ready", "ready", "terminating while others are ready"]);
}

/// Runs it beside the agent, whose source it is to ask.
fn run(network: &Network, client: &str, vip: &str) -> (Option<i32>, String) {
    let mut command = Command::new(seaway_binary());
    command.args(["explain", client, vip, "-o", "json", "--run-dir"]).arg(network.setup.run_dir());
    command.arg("--pin-dir").arg(network.setup.pin_dir());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = network.topology.node.namespace().spawn(command).unwrap();
    let (mut out, mut said) = (process.stdout().unwrap(), String::new());
    let mut errors = process.stderr().unwrap();
    out.read_to_string(&mut said).unwrap();
    errors.read_to_string(&mut said).unwrap();
    (process.wait(PATIENCE).unwrap().code(), said)
}

#[test]
fn the_facts_of_an_agent_that_follows_an_api_server_are_asked_for_there() {
    privileged!();
    let mut network = Network::new(&[]);
    network.setup = network.setup.arguments(["--node-name", "node-1", "--algorithm-inside", "round-robin"]);
    let server = network.api_server();
    let service = json!({
        "kind": "Service", "metadata": {"namespace": "n", "name": "web"},
        "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
    });
    let endpoint =
        |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
    let slice = json!({
        "kind": "EndpointSlice",
        "metadata": {"namespace": "n", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [endpoint("10.1.0.1", true), endpoint("10.1.0.2", false)],
    });
    let range =
        json!({"kind": "ServiceCIDR", "metadata": {"name": "k"}, "spec": {"cidrs": ["10.96.0.0/16"]}});
    server.put_all([service, slice, range, node("node-1", "a")]);
    let _agent = network.start();
    let (code, said) = run(&network, "10.1.0.9", "10.96.0.1:80");
    assert_eq!(code, Some(0), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["service"], "n/web");
    assert_eq!(said["endpoints"][1]["why"], "not ready");
    assert_eq!(said["in_force"]["candidates"], json!(["10.1.0.1:8080"]));
    assert_eq!(said["in_force"]["algorithm"], "round-robin");
    let (code, said) = run(&network, "10.1.0.9", "10.96.0.2:80");
    assert!(code == Some(1) && said.contains("lies in a range of Services"), "{said}");
}
