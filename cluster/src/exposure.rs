//! Where a Service is reachable, by family: what kube-proxy derives from one Service alone.
//!
//! The rules are those of kube-proxy's `serviceport.go` and of `pkg/api/v1/service/util.go`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{AddressFamily, Service, ServicePort, ServiceType, TrafficPolicy};

impl Service {
    /// Whether a proxy serves it at all: it has virtual addresses and no other proxy claims it.
    pub fn proxied(&self) -> bool {
        !self.foreign_proxy && !self.headless && !matches!(self.kind, ServiceType::ExternalName(_))
    }

    /// The cluster IP of a family. Without one the Service does not exist for that family: node
    /// ports and external addresses included.
    pub fn cluster_ip(&self, family: AddressFamily) -> Option<IpAddr> {
        of_family(&self.cluster_ips, family).next()
    }

    /// The external IPs of a family.
    pub fn external_ips_of(&self, family: AddressFamily) -> impl Iterator<Item = IpAddr> {
        of_family(&self.external_ips, family)
    }

    /// The load balancer addresses of a family.
    pub fn load_balancer_ips_of(&self, family: AddressFamily) -> impl Iterator<Item = IpAddr> {
        of_family(&self.load_balancer_ips, family)
    }

    /// The sources that may reach the load balancer addresses of a family. Empty means every
    /// source; a range of length 0 lets in every source, so it empties the list.
    pub fn allowed_sources(&self, family: AddressFamily) -> Vec<IpNet> {
        let ranges = self.source_ranges.iter().filter(|range| AddressFamily::of(range.addr()) == family);
        let ranges: Vec<IpNet> = ranges.copied().collect();
        if ranges.iter().any(|range| range.prefix_len() == 0) { Vec::new() } else { ranges }
    }

    /// Whether `port` has a node port, an external IP or a load balancer address of the family.
    /// The type of the Service does not matter.
    pub fn externally_accessible(&self, port: &ServicePort, family: AddressFamily) -> bool {
        port.node_port != 0
            || self.external_ips_of(family).next().is_some()
            || self.load_balancer_ips_of(family).next().is_some()
    }

    /// Whether external traffic goes to endpoints of the receiving node only. The policy of a
    /// ClusterIP Service counts if it has external IPs, of whichever family.
    pub fn external_local(&self) -> bool {
        let external = match self.kind {
            ServiceType::LoadBalancer | ServiceType::NodePort => true,
            ServiceType::ClusterIp => !self.external_ips.is_empty(),
            ServiceType::ExternalName(_) => false,
        };
        external && self.external_policy == TrafficPolicy::Local
    }

    /// Whether traffic to the cluster IP goes to endpoints of the client's node only.
    pub fn internal_local(&self) -> bool {
        self.internal_policy == TrafficPolicy::Local
    }

    /// Whether some traffic to `port` may go to any endpoint of the cluster. Under an external
    /// policy of `Local` that is the traffic of the cluster's own pods and nodes.
    pub fn uses_cluster(&self, port: &ServicePort, family: AddressFamily) -> bool {
        !self.internal_local() || self.externally_accessible(port, family)
    }

    /// Whether some traffic to `port` has to stay on the node.
    pub fn uses_local(&self, port: &ServicePort, family: AddressFamily) -> bool {
        self.internal_local() || (self.external_local() && self.externally_accessible(port, family))
    }

    /// The port of the node on which the Service's health is told, for both families; `None`
    /// unless it is a load balancer with an external policy of `Local`.
    pub fn health_check_port(&self) -> Option<u16> {
        let checked = self.kind == ServiceType::LoadBalancer && self.external_policy == TrafficPolicy::Local;
        Some(self.health_check_node_port).filter(|port| checked && *port != 0)
    }
}

fn of_family(addresses: &[IpAddr], family: AddressFamily) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |address| AddressFamily::of(*address) == family)
}
