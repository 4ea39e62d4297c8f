//! What the facts say of this node's pods: where their addresses are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use seaway_cluster::{ServiceName, Snapshot};

/// Addresses of this node and of its pods.
#[derive(Clone, Debug, Default)]
pub struct PodNetwork {
    /// Ranges of all pods of the cluster, as far as somebody said.
    pub clusters: Vec<IpNet>,
    /// Ranges of this node's pods.
    pub ranges: Vec<IpNet>,
    /// Pods of this node, and endpoints that are said to be on it.
    pub addresses: BTreeSet<IpAddr>,
    /// The Node object's addresses.
    pub node: Vec<IpAddr>,
    endpoints: BTreeMap<ServiceName, Vec<IpAddr>>,
    facts: Arc<Snapshot>,
}

impl PodNetwork {
    /// Of a cluster whose pods have addresses from these ranges.
    pub fn new(clusters: Vec<IpNet>) -> Self {
        Self { clusters, ..Self::default() }
    }

    /// Takes note of the facts. Whether anything of it is another.
    pub fn follow(&mut self, facts: &Arc<Snapshot>, node: &str) -> bool {
        let before = std::mem::replace(&mut self.facts, Arc::clone(facts));
        let own = facts.nodes.get(node);
        let ranges = own.map(|node| node.pod_cidrs.clone()).unwrap_or_default();
        let node_addresses = own.map(|node| node.addresses.clone()).unwrap_or_default();
        let mut changed = ranges != self.ranges || node_addresses != self.node;
        (self.ranges, self.node) = (ranges, node_addresses);
        let mut stale = !before.pods.ptr_eq(&facts.pods);
        for service in facts.changed_services(&before) {
            let endpoints = local_endpoints(facts, service, node);
            let known = self.endpoints.get(service).map_or(&[][..], Vec::as_slice);
            if known != endpoints {
                stale = true;
                self.endpoints.insert(service.clone(), endpoints);
            }
        }
        if stale {
            self.endpoints.retain(|_, addresses| !addresses.is_empty());
            let pods = facts.pods.values().filter(|pod| {
                !pod.host_network && !pod.finished && pod.node.as_deref().is_some_and(|its| its == node)
            });
            let addresses = pods.flat_map(|pod| pod.addresses.iter().copied());
            let addresses = addresses.chain(self.endpoints.values().flatten().copied()).collect();
            changed |= addresses != self.addresses;
            self.addresses = addresses;
        }
        changed
    }

    /// Whether an address is that of a pod of this node.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.ranges.iter().any(|range| range.contains(&address))
    }

    /// Whether a network is one of pods, on this node or elsewhere.
    pub(crate) fn holds(&self, net: &IpNet) -> bool {
        self.ranges.iter().chain(&self.clusters).any(|range| range.contains(net))
    }

    /// A pod of this node in a network that has none of the node's own `addresses`.
    pub(crate) fn pod_in(&self, net: &IpNet, addresses: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let mut pods = self.addresses.iter().copied().filter(|address| !addresses.contains(address));
        pods.find(|address| net.contains(address))
    }
}

fn local_endpoints(facts: &Snapshot, service: &ServiceName, node: &str) -> Vec<IpAddr> {
    let endpoints = facts.slices_of(service).flat_map(|slice| slice.endpoints.iter());
    let here = endpoints.filter(|endpoint| {
        let its = endpoint.locality.as_ref().and_then(|locality| locality.node.as_deref());
        its.is_some_and(|its| its == node)
    });
    here.map(|endpoint| endpoint.address).collect()
}

#[cfg(test)]
mod tests {
    use seaway_cluster::Node;

    use super::*;

    #[test]
    fn ranges_come_from_the_node_object_and_only_changes_count() {
        let mut network = PodNetwork::default();
        let node = |range: &str| {
            let pod_cidrs = vec![range.parse().unwrap()];
            let node = Node { name: "n1".into(), pod_cidrs, ..Node::default() };
            let nodes = [(Arc::from("n1"), Arc::new(node))].into_iter().collect();
            Arc::new(Snapshot { nodes, ..Snapshot::default() })
        };
        assert!(network.follow(&node("10.1.1.0/24"), "n1"));
        assert!(!network.follow(&node("10.1.1.0/24"), "n1"));
        assert!(network.is_own("10.1.1.9".parse().unwrap()));
        assert!(network.follow(&node("10.1.2.0/24"), "n1"));
        assert!(!network.is_own("10.1.1.9".parse().unwrap()));
        assert!(network.follow(&node("10.1.2.0/24"), "n2"), "the ranges of another node are not this one's");
    }
}
