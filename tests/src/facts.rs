//! Facts to choose from: a few Services that get in each other's way, as manifests.

use std::{fmt::Write as _, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::subsequence};
use seaway_cluster::Snapshot;

/// The node on which everything is decided.
pub const NODE: &str = "node-1";

const NAMES: [&str; 5] = ["a/one", "a/two", "b/one", "b/three", "c/four"];
const PORTS: [(&str, u16, &str); 3] = [("http", 80, "TCP"), ("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")];
const ENDPOINTS_MAX: usize = 5;

/// One Service and its endpoints.
#[derive(Clone, Debug)]
pub struct Model {
    name: &'static str,
    /// Fewer addresses than Services: some are claimed twice.
    address: u8,
    dual: bool,
    ports: Vec<(&'static str, u16, &'static str)>,
    internal_local: bool,
    affinity: bool,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    address: u8,
    node: u8,
    condition: Condition,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Ready,
    NotReady,
    Terminating,
}

/// Any set of Services.
pub fn facts() -> impl Strategy<Value = Vec<Model>> {
    let names = subsequence(NAMES.to_vec(), 0..=NAMES.len());
    names.prop_flat_map(|names| names.into_iter().map(model).collect::<Vec<_>>())
}

/// A snapshot of the Services, and of this node.
///
/// # Panics
/// When the manifests are unsound.
pub fn snapshot(services: &[Model]) -> Arc<Snapshot> {
    let mut text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\n");
    for service in services {
        text += "---\n";
        text += &service.manifest();
    }
    snapshot_of(&text)
}

/// A snapshot of these manifests.
///
/// # Panics
/// When they are unsound.
pub fn snapshot_of(manifests: &str) -> Arc<Snapshot> {
    let (snapshot, warnings) = Snapshot::from_manifests(manifests);
    assert!(warnings.is_empty(), "{warnings:?}\n{manifests}");
    Arc::new(snapshot)
}

fn model(name: &'static str) -> impl Strategy<Value = Model> {
    let ports = subsequence(PORTS.to_vec(), 1..=PORTS.len());
    let options = (1u8..=4, any::<bool>(), any::<bool>(), any::<bool>());
    (options, ports, vec(endpoint(), 0..=ENDPOINTS_MAX)).prop_map(
        move |((address, dual, internal_local, affinity), ports, endpoints)| Model {
            name,
            address,
            dual,
            ports,
            internal_local,
            affinity,
            endpoints,
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let condition = prop_oneof![
        4 => Just(Condition::Ready),
        1 => Just(Condition::NotReady),
        1 => Just(Condition::Terminating),
    ];
    (1u8..=6, 1u8..=2, condition).prop_map(|(address, node, condition)| Endpoint { address, node, condition })
}

impl Model {
    fn manifest(&self) -> String {
        let (namespace, name) = self.name.split_once('/').unwrap_or(("default", self.name));
        let v6 = if self.dual { format!(", 'fd96::{}'", self.address) } else { String::new() };
        let policy = if self.internal_local { "Local" } else { "Cluster" };
        let affinity = if self.affinity { "ClientIP" } else { "None" };
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{namespace: {namespace}, name: {name}}}\n\
             spec:\n  clusterIP: 10.96.0.{0}\n  clusterIPs: [10.96.0.{0}{v6}]\n  \
             internalTrafficPolicy: {policy}\n  sessionAffinity: {affinity}\n  ports:\n",
            self.address
        );
        for (port, number, protocol) in &self.ports {
            // Writing to a string does not fail.
            writeln!(text, "  - {{name: {port}, port: {number}, protocol: {protocol}}}").ok();
        }
        self.add_slice(&mut text, "IPv4", "10.1.0.");
        if self.dual {
            self.add_slice(&mut text, "IPv6", "fd77::");
        }
        text
    }

    fn add_slice(&self, text: &mut String, family: &str, prefix: &str) {
        let (namespace, name) = self.name.split_once('/').unwrap_or(("default", self.name));
        let lower = family.to_lowercase();
        write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  namespace: {namespace}\n  \
             name: {name}-{lower}\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: {family}\nports:\n"
        )
        .ok();
        for (port, number, protocol) in &self.ports {
            writeln!(text, "- {{name: {port}, port: {}, protocol: {protocol}}}", number + 8000).ok();
        }
        text.push_str("endpoints:");
        if self.endpoints.is_empty() {
            text.push_str(" []");
        }
        text.push('\n');
        for Endpoint { address, node, condition } in &self.endpoints {
            let (ready, serving, terminating) = match condition {
                Condition::Ready => (true, true, false),
                Condition::NotReady => (false, false, false),
                Condition::Terminating => (false, true, true),
            };
            writeln!(
                text,
                "- {{addresses: ['{prefix}{address}'], nodeName: node-{node}, \
                 conditions: {{ready: {ready}, serving: {serving}, terminating: {terminating}}}}}"
            )
            .ok();
        }
    }
}
