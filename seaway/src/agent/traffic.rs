//! The flags that say which traffic is whose, and what becomes of it.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use clap::Args as ClapArgs;
use ipnet::IpNet;
use seaway_common::{
    Algorithm, CONFIG_CROSS, CONFIG_MASQUERADE_ALL, CONFIG_POD_PATH, Config, PREFIXES_MAX, Prefix,
};
use seaway_dataplane::pod_network::PodNetwork;
use seaway_dataplane::preferences::{ALGORITHMS, algorithm};
use seaway_dataplane::site::{Algorithms, Site};

use super::interfaces::{AUTO, Interfaces};
use super::timeouts;

/// Which traffic is whose.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Traffic")]
#[group(skip)]
pub(super) struct Args {
    /// Also translate packets of pods on this interface of the host (repeatable, values as for
    /// --interface). `auto`: the host ends of veths and taps that a route or a bridge leads pods' addresses
    /// to. A bridge stands for its ports.
    #[arg(
        long = "pod-interface",
        value_name = "IF",
        env = "SEAWAY_POD_INTERFACES",
        value_delimiter = ',',
        default_value = AUTO
    )]
    pod_interfaces: Vec<String>,
    /// Addresses of pods: their clients keep their address and are inside the cluster.
    #[arg(long = "cluster-cidr", value_name = "CIDR", env = "SEAWAY_CLUSTER_CIDR", value_delimiter = ',')]
    cluster_cidrs: Vec<IpNet>,
    /// Addresses of Services, beside what ServiceCIDRs say: those that no Service has are dropped.
    #[arg(long = "service-cidr", value_name = "CIDR", env = "SEAWAY_SERVICE_CIDR", value_delimiter = ',')]
    service_cidrs: Vec<IpNet>,
    /// External addresses of a family that a Service has no endpoints of lead to those of the other.
    #[arg(long = "nat46x64", env = "SEAWAY_NAT46X64")]
    crosses: bool,
    /// Every client of a cluster IP is masqueraded.
    #[arg(long, env = "SEAWAY_MASQUERADE_ALL")]
    masquerade_all: bool,
    /// Source ports of masqueraded packets.
    #[arg(long, value_name = "FIRST-LAST", env = "SEAWAY_SNAT_PORTS", default_value = "10000-29999")]
    snat_ports: Ports,
    /// Ports that the cluster gives to Services as node ports.
    #[arg(long, value_name = "FIRST-LAST", env = "SEAWAY_NODEPORT_RANGE", default_value = "30000-32767")]
    nodeport_range: Ports,
    /// Addresses on which node ports are served: `primary`, or ranges.
    #[arg(
        long,
        value_name = "CIDR",
        env = "SEAWAY_NODEPORT_ADDRESSES",
        value_delimiter = ',',
        default_value = "primary"
    )]
    nodeport_addresses: Vec<NodePortAddresses>,
    /// Serve `spec.externalIPs` of Services in this range only (repeatable). Default: everywhere, as kube-proxy.
    #[arg(
        long = "allow-external-ips",
        value_name = "CIDR",
        env = "SEAWAY_ALLOW_EXTERNAL_IPS",
        value_delimiter = ','
    )]
    external_ips: Vec<IpNet>,
    /// How endpoints are chosen for clients in the cluster.
    #[arg(long, value_name = "NAME", env = "SEAWAY_ALGORITHM_INSIDE", default_value = "random", value_parser = named)]
    algorithm_inside: Algorithm,
    /// How endpoints are chosen for clients of external frontends elsewhere.
    #[arg(long, value_name = "NAME", env = "SEAWAY_ALGORITHM_OUTSIDE", default_value = "maglev", value_parser = named)]
    algorithm_outside: Algorithm,
    #[command(flatten)]
    timeouts: timeouts::Args,
}

/// `FIRST-LAST`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl std::str::FromStr for Ports {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (first, last) = text.split_once('-').context("two ports as FIRST-LAST are wanted")?;
        let (first, last) = (first.trim().parse()?, last.trim().parse()?);
        ensure!(0 < first && first <= last, "the first port is 0 or larger than the last");
        Ok(Self { first, last })
    }
}

/// Addresses on which node ports are served.
#[derive(Clone, Copy, Debug)]
enum NodePortAddresses {
    /// The node's own address of each family.
    Primary,
    /// Those of its addresses that lie in a range.
    Range(IpNet),
}

impl std::str::FromStr for NodePortAddresses {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "primary" {
            return Ok(Self::Primary);
        }
        let range = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        Ok(Self::Range(range.context("a range, an address or `primary` is wanted")?))
    }
}

impl Args {
    /// The node as far as the flags say; its addresses are still to come.
    pub(super) fn site(&self, node: &str, host_netns: u64) -> Result<Site> {
        let Ports { first, last } = self.snat_ports;
        let taken = self.nodeport_range;
        if first <= taken.last && taken.first <= last {
            bail!(crate::Usage(
                "--snat-ports and --nodeport-range overlap: a node port would be taken for a reply"
            ));
        }
        let (clusters_len, clusters) = prefixes("--cluster-cidr", &self.cluster_cidrs)?;
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        let pods = self.pod_interfaces()?;
        let config = Config {
            host_netns,
            flags: flag(self.masquerade_all, CONFIG_MASQUERADE_ALL)
                | flag(self.crosses, CONFIG_CROSS)
                // With `auto` it is set as soon as an interface of every pod is found.
                | flag(pods.any() && !pods.is_auto(), CONFIG_POD_PATH),
            snat_first: first,
            snat_last: last,
            clusters_len,
            clusters,
            icmp_ratelimit_ms: icmp_ratelimit_ms(),
            ..self.timeouts.config()
        };
        let algorithms = Algorithms { inside: self.algorithm_inside, outside: self.algorithm_outside };
        let ranges = self.nodeport_addresses.iter().filter_map(|given| match given {
            NodePortAddresses::Primary => None,
            NodePortAddresses::Range(range) => Some(*range),
        });
        let node_ports = ranges.collect();
        let (service_ranges, external_ips) = (self.service_cidrs.clone(), self.external_ips.clone());
        Ok(Site { node_ports, external_ips, algorithms, service_ranges, config, ..Site::from(node) })
    }

    /// What `--pod-interface` asks for.
    pub(super) fn pod_interfaces(&self) -> Result<Interfaces> {
        Interfaces::parse("--pod-interface", &self.pod_interfaces)
    }

    /// Where pods have their addresses, as far as the flags say.
    pub(super) fn pod_network(&self) -> PodNetwork {
        PodNetwork::new(self.cluster_cidrs.clone())
    }

    /// The ports that no program of the node may take for its own connections.
    /// Ports at the node's addresses where a packet belongs to a Service, with the flag that sets them: a
    /// local program whose socket had one would wait for its answers in vain.
    pub(super) fn own_ports(&self) -> [(&'static str, Ports); 2] {
        [("--snat-ports", self.snat_ports), ("--nodeport-range", self.nodeport_range)]
    }
}

/// The node's own setting; the kernel's default where it cannot be read.
fn icmp_ratelimit_ms() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/icmp_ratelimit").unwrap_or_default();
    text.trim().parse().unwrap_or(1000)
}

fn named(name: &str) -> Result<Algorithm> {
    let known = ALGORITHMS.map(|(name, _)| name).join(", ");
    algorithm(name).with_context(|| format!("known are {known}"))
}

fn prefixes(flag: &str, ranges: &[IpNet]) -> Result<(u32, [Prefix; PREFIXES_MAX])> {
    ensure!(ranges.len() <= PREFIXES_MAX, "{flag}: {} ranges are given, {PREFIXES_MAX} fit", ranges.len());
    let mut all = [Prefix::default(); PREFIXES_MAX];
    for (place, range) in all.iter_mut().zip(ranges) {
        *place = Prefix::new(range.addr(), range.prefix_len());
    }
    Ok((u32::try_from(ranges.len()).unwrap_or(0), all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(u16, u16)>) {
        assert_eq!(text.parse::<Ports>().ok().map(|ports| (ports.first, ports.last)), expected, "{text}");
    }

    #[test]
    fn a_range_of_ports_has_a_first_and_a_last() {
        check("10000-29999", Some((10_000, 29_999)));
        check("5-5", Some((5, 5)));
        check("6-5", None);
        check("0-5", None);
        check("5", None);
        check("1-65536", None);
    }
}
