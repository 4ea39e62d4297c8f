//! What a running agent knows of its node, as it tells other commands.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use seaway_common::{Config, Prefix};
use serde::{Deserialize, Serialize};

use super::{Algorithms, NodeDns, Site};
use crate::preferences::{algorithm, name_of};

/// The node's addresses, and the settings that decisions depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Every address of its interfaces.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses that packets without a better route leave from.
    pub routed: Vec<IpAddr>,
    /// `--nodeport-addresses` without `primary`.
    pub node_ports: Vec<IpNet>,
    /// `--allow-external-ips`.
    pub external_ips: Vec<IpNet>,
    /// `--cluster-cidr`.
    pub clusters: Vec<IpNet>,
    /// `--service-cidr`.
    pub services: Vec<IpNet>,
    /// The node's own DNS server.
    pub node_dns: NodeDns,
    /// `--algorithm-inside`.
    pub inside: String,
    /// `--algorithm-outside`.
    pub outside: String,
}

impl Settings {
    /// Of a site.
    pub fn of(site: &Site) -> Self {
        let clusters = site.config.clusters.iter().take(site.config.clusters_len as usize);
        Self {
            addresses: site.addresses.clone(),
            routed: site.routed.clone(),
            node_ports: site.node_ports.clone(),
            external_ips: site.external_ips.clone(),
            clusters: clusters.filter_map(range_of).collect(),
            services: site.service_ranges.clone(),
            node_dns: site.node_dns.clone(),
            inside: name_of(site.algorithms.inside).to_owned(),
            outside: name_of(site.algorithms.outside).to_owned(),
        }
    }

    /// The site of the node with this name, as far as decisions depend on it.
    pub fn site(&self, node: &str) -> Site {
        let usual = Algorithms::default();
        let mut config = Config::new();
        for (place, range) in config.clusters.iter_mut().zip(&self.clusters) {
            *place = Prefix::new(range.addr(), range.prefix_len());
            config.clusters_len += 1;
        }
        Site {
            addresses: self.addresses.clone(),
            routed: self.routed.clone(),
            node_ports: self.node_ports.clone(),
            external_ips: self.external_ips.clone(),
            algorithms: Algorithms {
                inside: algorithm(&self.inside).unwrap_or(usual.inside),
                outside: algorithm(&self.outside).unwrap_or(usual.outside),
            },
            service_ranges: self.services.clone(),
            node_dns: self.node_dns.clone(),
            config,
            ..Site::from(node)
        }
    }
}

fn range_of(prefix: &Prefix) -> Option<IpNet> {
    let ones = prefix.mask.words().map(|word| word.get().count_ones()).iter().sum::<u32>();
    let net = IpAddr::from(prefix.net);
    let len = if net.is_ipv4() { ones.checked_sub(96)? } else { ones };
    IpNet::new(net, u8::try_from(len).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_comes_back_from_its_settings() {
        let settings = Settings {
            addresses: ["192.0.2.1".parse().unwrap()].into(),
            routed: vec!["192.0.2.1".parse().unwrap()],
            node_ports: vec!["192.0.2.0/24".parse().unwrap()],
            external_ips: vec!["198.51.100.0/24".parse().unwrap()],
            clusters: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10::/56".parse().unwrap()],
            services: vec!["10.96.0.0/12".parse().unwrap()],
            node_dns: NodeDns { listeners: ["192.0.2.1:9053".parse().unwrap()].into(), ..NodeDns::default() },
            inside: "round-robin".to_owned(),
            outside: "source-hash".to_owned(),
        };
        assert_eq!(Settings::of(&settings.site("n1")), settings);
        assert!(settings.site("n1").config.in_cluster(&"10.244.3.9".parse::<IpAddr>().unwrap().into()));
    }
}
