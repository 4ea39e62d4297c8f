//! No endpoint outside of the allowed set is ever in a slice, whatever changes into whatever.
//!
//! The allowed set is worked out here once more, from the rules' text (kube-proxy `topology.go`, in
//! the specification's words) and without the code under test.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use seaway_cluster::Snapshot;
use seaway_dataplane::Site;
use seaway_dataplane::sync::{Event, Sync};
use seaway_harness::{Contents, Destination, Faults, FaultyMaps, MemoryMaps};
use seaway_tests::facts::{NODE, snapshot_of};

const NODES: [&str; 3] = [NODE, "node-2", "node-3"];
const ZONES: [&str; 2] = ["za", "zb"];

#[derive(Clone, Debug)]
struct Web {
    internal_local: bool,
    external_local: bool,
    node_port: bool,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    address: u8,
    node: usize,
    ready: bool,
    serving: bool,
    terminating: bool,
    /// Hints: none, one zone, one node.
    zone: Option<usize>,
    for_node: Option<usize>,
}

/// Addresses of both lists.
#[derive(Debug, PartialEq, Eq)]
struct Allowed {
    cluster: BTreeSet<u8>,
    local: BTreeSet<u8>,
}

fn webs() -> impl Strategy<Value = Web> {
    // Hints are complete more often than chance would have it: only then do they count.
    let hinted = (any::<bool>(), any::<bool>());
    (any::<bool>(), any::<bool>(), any::<bool>(), hinted, vec(endpoint(), 0..6)).prop_map(
        |(internal_local, external_local, node_port, (zones, nodes), mut endpoints)| {
            endpoints.sort_by_key(|endpoint| endpoint.address);
            endpoints.dedup_by_key(|endpoint| endpoint.address);
            for endpoint in &mut endpoints {
                endpoint.zone = endpoint.zone.filter(|_| zones);
                endpoint.for_node = endpoint.for_node.filter(|_| nodes);
            }
            Web { internal_local, external_local: external_local && node_port, node_port, endpoints }
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let conditions = (prop::bool::weighted(0.7), prop::bool::weighted(0.8), prop::bool::weighted(0.3));
    let hints = (prop::option::weighted(0.9, 0..ZONES.len()), prop::option::weighted(0.9, 0..NODES.len()));
    (1u8..=8, 0..NODES.len(), conditions, hints).prop_map(|(address, node, conditions, (zone, for_node))| {
        let (ready, serving, terminating) = conditions;
        Endpoint { address, node, ready, serving, terminating, zone, for_node }
    })
}

impl Web {
    fn snapshot(&self) -> Arc<Snapshot> {
        let policy = |local: bool| if local { "Local" } else { "Cluster" };
        let (kind, node_port) = match self.node_port {
            true => (
                format!("type: NodePort, externalTrafficPolicy: {}", policy(self.external_local)),
                ", nodePort: 30080",
            ),
            false => ("type: ClusterIP".to_owned(), ""),
        };
        let endpoint = |endpoint: &Endpoint| {
            let Endpoint { address, node, ready, serving, terminating, zone, for_node } = endpoint;
            let hint = |name: &str, of: Option<&str>| {
                of.map(|of| format!("{name}: [{{name: {of}}}], ")).unwrap_or_default()
            };
            let zones = hint("forZones", zone.map(|zone| ZONES[zone]));
            let nodes = hint("forNodes", for_node.map(|node| NODES[node]));
            format!(
                "- {{addresses: [10.1.0.{address}], nodeName: {}, hints: {{{zones}{nodes}}}, \
                 conditions: {{ready: {ready}, serving: {serving}, terminating: {terminating}}}}}\n",
                NODES[*node]
            )
        };
        let endpoints: String = self.endpoints.iter().map(endpoint).collect();
        let endpoints = if endpoints.is_empty() { " []".to_owned() } else { format!("\n{endpoints}") };
        snapshot_of(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}, labels: {{topology.kubernetes.io/zone: {}}}}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: 10.96.0.1, {kind}, \
             internalTrafficPolicy: {}, ports: [{{name: http, port: 80{node_port}}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
             ports: [{{name: http, port: 8080}}]\nendpoints:{endpoints}\n",
            ZONES[0],
            policy(self.internal_local)
        ))
    }

    /// *Cluster set*: ready endpoints that the topology allows; if that leaves none, every endpoint
    /// that is serving and terminating. *Local set*: this node's ready ones; else this node's
    /// serving and terminating ones. A set that the Service never uses is empty.
    fn allowed(&self) -> Allowed {
        let ready: Vec<&Endpoint> = self.endpoints.iter().filter(|endpoint| endpoint.ready).collect();
        let by_node = ready.iter().all(|endpoint| endpoint.for_node.is_some())
            && ready.iter().any(|endpoint| endpoint.for_node == Some(0));
        let by_zone = ready.iter().all(|endpoint| endpoint.zone.is_some())
            && ready.iter().any(|endpoint| endpoint.zone == Some(0));
        let near = |endpoint: &Endpoint| match (by_node, by_zone) {
            (true, _) => endpoint.for_node == Some(0),
            (false, true) => endpoint.zone == Some(0),
            (false, false) => true,
        };
        let set = |from: &dyn Fn(&Endpoint) -> bool| -> BTreeSet<u8> {
            self.endpoints.iter().filter(|endpoint| from(endpoint)).map(|endpoint| endpoint.address).collect()
        };
        let draining = |endpoint: &Endpoint| endpoint.serving && endpoint.terminating;
        let or = |first: BTreeSet<u8>, second: BTreeSet<u8>| if first.is_empty() { second } else { first };
        let here = |endpoint: &Endpoint| endpoint.node == 0;
        let cluster = or(set(&|it| it.ready && near(it)), set(&draining));
        let local = or(set(&|it| it.ready && here(it)), set(&|it| draining(it) && here(it)));
        let uses_cluster = !self.internal_local || self.node_port;
        let uses_local = self.internal_local || self.external_local;
        let only_if = |uses: bool, set: BTreeSet<u8>| if uses { set } else { BTreeSet::new() };
        Allowed { cluster: only_if(uses_cluster, cluster), local: only_if(uses_local, local) }
    }
}

/// Last octets of a list's addresses.
fn found(list: &[Destination]) -> Result<BTreeSet<u8>, TestCaseError> {
    let octet = |destination: &Destination| match destination {
        Destination::Backend(address, _) => match address.ip() {
            std::net::IpAddr::V4(ip) => Ok(ip.octets()[3]),
            std::net::IpAddr::V6(ip) => Err(TestCaseError::fail(format!("{ip} is no endpoint"))),
        },
        Destination::Dangling => Err(TestCaseError::fail("a hole")),
    };
    list.iter().map(octet).collect()
}

fn check(contents: &Contents, allowed: &[&Allowed]) -> Result<(), TestCaseError> {
    for (key, frontend) in &contents.frontends {
        let both = Allowed { cluster: found(&frontend.cluster)?, local: found(&frontend.local)? };
        prop_assert!(
            allowed.iter().any(|one| **one == both),
            "{:?}: {:?} is none of {:?}",
            key,
            both,
            allowed
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// At every step of a change each frontend has the set of before or that of after, as a whole;
    /// one call in ten may fail meanwhile.
    #[test]
    fn slices_hold_what_is_allowed_and_nothing_else(sequence in vec(webs(), 1..5), seed: u64, faults: bool) {
        let faults = if faults { Faults::OneIn { every: 10, seed } } else { Faults::None };
        let mut site = Site::from(NODE);
        site.addresses = ["192.0.2.1".parse().unwrap()].into();
        let mut sync = Sync::new(FaultyMaps::new(MemoryMaps::default(), Faults::None).with_history(), site).unwrap();
        let mut before = Allowed { cluster: BTreeSet::new(), local: BTreeSet::new() };
        let (mut seen, mut now_ms) = (0, 0);
        sync.maps().set_faults(faults);
        for web in &sequence {
            let after = web.allowed();
            let mut outcome = sync.handle(Event::Facts(web.snapshot()), now_ms);
            while let Some(wait) = outcome.retry_in.filter(|_| outcome.error.is_some()) {
                now_ms += u64::try_from(wait.as_millis()).unwrap();
                outcome = sync.handle(Event::Retry, now_ms);
            }
            let history = sync.maps().history();
            for step in &history[seen..] {
                check(step, &[&before, &after])?;
            }
            if let Some(last) = history.last() {
                check(last, &[&after])?;
            }
            seen = history.len();
            (before, now_ms) = (after, now_ms + 10_000);
        }
    }
}
