//! This node, as far as the decisions depend on it.

mod node_dns;
mod settings;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use seaway_cluster::{AddressFamily, Snapshot};
use seaway_common::{Addr, Algorithm, CONFIG_ROUTED_V4, CONFIG_ROUTED_V6, Config, PREFIXES_MAX, Prefix};

pub use node_dns::NodeDns;
pub use settings::Settings;

/// This node's name, addresses and settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Its name in the facts; it need not be there.
    pub node: Arc<str>,
    /// Every address of its interfaces.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses that packets without a better route leave from, the preferred ones first.
    pub routed: Vec<IpAddr>,
    /// Destinations of its wide routes.
    pub routes: BTreeSet<IpNet>,
    /// Where node ports are served: the addresses in these ranges; without any, the primary ones.
    pub node_ports: Vec<IpNet>,
    /// Where external IPs of Services are served: in these ranges; without any, everywhere.
    pub external_ips: Vec<IpNet>,
    /// How endpoints are chosen where a Service does not say.
    pub algorithms: Algorithms,
    /// Where Services get their addresses from, beside what ServiceCIDRs say.
    pub service_ranges: Vec<IpNet>,
    /// The DNS server of this node that stands in for the cluster's.
    pub node_dns: NodeDns,
    /// What the programs are told, without the node's addresses and the Services' ranges.
    pub config: Config,
}

/// How endpoints are chosen, by where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// For clients in the cluster.
    pub inside: Algorithm,
    /// For clients of external frontends elsewhere.
    pub outside: Algorithm,
}

impl Default for Algorithms {
    fn default() -> Self {
        Self { inside: Algorithm::Random, outside: Algorithm::Maglev }
    }
}

impl From<&str> for Site {
    /// A node of this name without addresses.
    fn from(node: &str) -> Self {
        Self { node: node.into(), ..Self::default() }
    }
}

impl Site {
    /// The node's own address of a family: the Node object's, else one that packets leave from.
    pub fn primary(&self, snapshot: &Snapshot, family: AddressFamily) -> Option<IpAddr> {
        let of_family = |address: &&IpAddr| AddressFamily::of(**address) == family;
        let node = snapshot.nodes.get(&*self.node);
        let said = node.and_then(|node| node.addresses.iter().find(of_family));
        let first = || self.routed.iter().find(of_family);
        said.or_else(first).copied()
    }

    /// The addresses on which node ports are served, beside loopback.
    pub fn node_port_addresses(&self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        if self.node_ports.is_empty() {
            let families = [AddressFamily::Ipv4, AddressFamily::Ipv6];
            return families.iter().filter_map(|family| self.primary(snapshot, *family)).collect();
        }
        let usable = |address: &&IpAddr| match address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        };
        let wanted = |address: &&IpAddr| self.node_ports.iter().any(|range| range.contains(*address));
        self.addresses.iter().filter(usable).filter(wanted).copied().collect()
    }

    /// What the programs are told. Masqueraded packets get the node's primary address where an
    /// interface has it: replies to another one would not come back.
    pub fn config(&self, snapshot: &Snapshot) -> Config {
        let address = |family| -> Addr {
            let primary = self.primary(snapshot, family);
            let here = primary.filter(|it| self.addresses.is_empty() || self.addresses.contains(it));
            let routed = || self.routed.iter().copied().find(|it| AddressFamily::of(*it) == family);
            here.or_else(routed).map(Addr::from).unwrap_or_default()
        };
        let (snat_v4, snat_v6) = (address(AddressFamily::Ipv4), address(AddressFamily::Ipv6));
        let mut config = Config { snat_v4, snat_v6, ..self.config };
        let ranges = self.service_ranges(snapshot);
        for (bit, family) in
            [(CONFIG_ROUTED_V4, AddressFamily::Ipv4), (CONFIG_ROUTED_V6, AddressFamily::Ipv6)]
        {
            if self.routes_services(&ranges, family) {
                config.flags |= bit;
            }
        }
        if config.clusters_len == 0 {
            // As kube-proxy with `--detect-local-mode=NodeCIDR`: pods are where the Node object says.
            let node = snapshot.nodes.get(&*self.node);
            let own = node.map(|node| node.pod_cidrs.as_slice()).unwrap_or_default();
            for (place, range) in config.clusters.iter_mut().zip(own) {
                *place = Prefix::new(range.addr(), range.prefix_len());
                config.clusters_len += 1;
            }
        }
        for (place, range) in config.services.iter_mut().zip(&ranges) {
            *place = Prefix::new(range.addr(), range.prefix_len());
            config.services_len += 1;
        }
        config
    }

    /// Whether a route of the node takes packets to the Services of a family, as far as their ranges are known.
    fn routes_services(&self, ranges: &[IpNet], family: AddressFamily) -> bool {
        let of_family = |net: &&IpNet| AddressFamily::of(net.addr()) == family;
        let mut ranges = ranges.iter().filter(of_family).peekable();
        let routes: Vec<&IpNet> = self.routes.iter().filter(of_family).collect();
        if ranges.peek().is_none() {
            return routes.iter().any(|route| route.prefix_len() == 0);
        }
        ranges.all(|range| routes.iter().any(|route| route.contains(range)))
    }

    /// Where Services get their addresses from, in as few ranges as possible: those of the settings
    /// and those of the ServiceCIDRs.
    pub fn service_ranges(&self, snapshot: &Snapshot) -> Vec<IpNet> {
        let told = snapshot.service_cidrs.values().flat_map(|range| &range.ranges);
        IpNet::aggregate(&self.service_ranges.iter().chain(told).copied().collect())
    }

    /// What is wrong with the ranges, if something is.
    pub fn warning(&self, snapshot: &Snapshot) -> Option<String> {
        let ranges = self.service_ranges(snapshot);
        let rest = ranges.get(PREFIXES_MAX..).filter(|rest| !rest.is_empty())?;
        let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
        Some(format!(
            "Services have addresses from {} ranges and {PREFIXES_MAX} fit: in {} addresses that no Service \
             has are not dropped",
            ranges.len(),
            rest.join(", ")
        ))
    }

    /// Whether an address is one of the node's own.
    pub fn owns(&self, snapshot: &Snapshot, address: IpAddr) -> bool {
        let said = snapshot.nodes.get(&*self.node).is_some_and(|node| node.addresses.contains(&address));
        said || self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use seaway_cluster::ServiceCidr;

    use super::*;

    /// The ranges of the settings, those of a ServiceCIDR, and what becomes of them.
    #[track_caller]
    fn check(flags: &[&str], objects: &[&str], expected: &[&str], told: usize) {
        let ranges = |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|it| it.parse().unwrap()).collect() };
        let site = Site { service_ranges: ranges(flags), ..Site::default() };
        let range = Arc::new(ServiceCidr { name: "a".into(), ranges: ranges(objects) });
        let snapshot = Snapshot {
            service_cidrs: [(Arc::from("a"), range)].into_iter().collect(),
            ..Snapshot::default()
        };
        assert_eq!(site.service_ranges(&snapshot), ranges(expected));
        assert_eq!(site.config(&snapshot).services_len as usize, told);
        assert_eq!(site.warning(&snapshot).is_some(), expected.len() > told);
    }

    #[test]
    fn ranges_of_services_are_told_in_as_few_as_possible() {
        check(&[], &[], &[], 0);
        check(&["10.96.0.0/16"], &["10.96.0.0/12", "fd96::/108"], &["10.96.0.0/12", "fd96::/108"], 2);
        check(&["10.0.0.0/24"], &["10.0.1.0/24"], &["10.0.0.0/23"], 1);
        let many: Vec<String> = (0..9).map(|number| format!("10.{}.0.0/24", number * 2)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&[], &many, &many, PREFIXES_MAX);
    }
}
