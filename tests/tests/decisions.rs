//! Rows of the feature table as far as they are decisions: facts in, the contents of the maps out.
//!
//! The node is `node-1` in zone `za` with the addresses 192.0.2.1 and 2001:db8::1. What packets show
//! of the same rows is in `rows.rs`, `cluster_ip.rs` and `cluster_rows.rs`.

#![forbid(unsafe_code)]

#[path = "decisions/addresses.rs"]
mod addresses;
#[path = "decisions/changes.rs"]
mod changes;
#[path = "decisions/endpoints.rs"]
mod endpoints;
#[path = "decisions/frontends.rs"]
mod frontends;

use std::net::{IpAddr, SocketAddr};

use seaway_dataplane::desired::protocol_of;

use seaway_dataplane::site::Settings;
use seaway_dataplane::sync::{Event, Sync};
use seaway_harness::{Contents, MemoryMaps};
use seaway_tests::facts::{NODE, snapshot_of};

const HERE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1, labels: {topology.kubernetes.io/zone: za}}\n\
                    status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: InternalIP, address: '2001:db8::1'}]}\n";

const NODE_PORT: &str = "type: NodePort, ports: [{name: http, port: 80, nodePort: 30080}]";
const BOTH: [&str; 2] = ["10.1.0.1 node-1", "10.1.0.2 node-2"];

/// The Service `web` with this further text in its `spec` and `metadata`, and endpoints.
fn web(metadata: &str, spec: &str, endpoints: &[&str]) -> String {
    let endpoints: String = endpoints.iter().map(|text| endpoint(text)).collect();
    let ports = if spec.contains("ports:") { "" } else { ", ports: [{name: http, port: 80}]" };
    let address = if spec.contains("clusterIP") || spec.contains("externalName") {
        ""
    } else {
        "clusterIP: 10.96.0.1, "
    };
    let endpoints = if endpoints.is_empty() { " []".to_owned() } else { format!("\n{endpoints}") };
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, {metadata}}}\nspec: {{{address}{spec}{ports}}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints:{endpoints}\n"
    )
}

/// `ADDRESS NODE [ready|unready|draining] [zone=..] [for=..]`
fn endpoint(text: &str) -> String {
    let mut words = text.split(' ');
    let (address, node) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut condition, mut hints) = ("ready: true", String::new());
    for word in words {
        match word.split_once('=') {
            Some(("zone", zones)) => hints += &format!("forZones: [{{name: {zones}}}], "),
            Some(("for", nodes)) => hints += &format!("forNodes: [{{name: {nodes}}}], "),
            _ if word == "unready" => condition = "ready: false, serving: false",
            _ if word == "draining" => condition = "ready: false, serving: true, terminating: true",
            _ => assert_eq!(word, "ready"),
        }
    }
    format!(
        "- {{addresses: [{address}], nodeName: {node}, conditions: {{{condition}}}, hints: {{{hints}}}}}\n"
    )
}

/// With the address that a load balancer has given it.
fn balanced(manifest: &str, ip: &str) -> String {
    let status = format!("status: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}\n---\napiVersion: discovery");
    manifest.replacen("---\napiVersion: discovery", &status, 1)
}

/// Hands over one set of manifests after the other, and compares what there is in the end: a line for
/// each frontend, with its options, the cluster's candidates, and after a bar this node's; then
/// what is said of the facts. Frontends on loopback are left out, and what follows from the rest.
#[track_caller]
fn check(manifests: &[String], expected: &[&str]) {
    let own: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap()).into();
    let settings = Settings { addresses: own.iter().copied().collect(), routed: own, ..Settings::default() };
    let mut sync = Sync::new(MemoryMaps::default(), settings.site(NODE)).unwrap();
    let mut said = Vec::new();
    for (number, manifests) in manifests.iter().enumerate() {
        let facts = snapshot_of(&format!("{HERE}{manifests}"));
        let outcome = sync.handle(Event::Facts(facts), number as u64 * 10_000);
        assert!(outcome.error.is_none() && outcome.full.is_empty(), "{outcome:?}");
        said = outcome.warnings;
    }
    let contents = Contents::read(sync.maps()).unwrap();
    assert!(contents.strays.is_empty(), "{contents}");
    let mut found = Vec::new();
    for (key, frontend) in &contents.frontends {
        let address = SocketAddr::new(key.addr.into(), key.port.get());
        if address.ip().is_loopback() {
            continue;
        }
        let proto = protocol_of(key.proto).map(|protocol| format!("/{protocol}").to_lowercase());
        let told =
            |option: &&String| !["near", "external"].contains(&option.as_str()) && !option.contains("table");
        let mut words = vec![format!("{address}{}", proto.unwrap_or_default())];
        words.extend(frontend.options.iter().filter(told).cloned());
        words.push("->".to_owned());
        words.extend(frontend.cluster.iter().map(ToString::to_string));
        words.push("|".to_owned());
        words.extend(frontend.local.iter().map(ToString::to_string));
        found.push(words.join(" ").replace(":8080", ""));
    }
    found.extend(said);
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}
