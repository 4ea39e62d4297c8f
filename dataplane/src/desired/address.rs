//! Addresses that a Service is given by users and controllers: which are served, and what the node may
//! answer for at them.
//!
//! `spec.externalIPs` and `status.loadBalancer` are free text to the API server, so a Service may name
//! addresses that belong to somebody else. Those that mean something to every host are never served.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use seaway_cluster::{JoinedEndpoint, Service, Snapshot};
use seaway_common::{ADDRESS_EXTERNAL, ADDRESS_OWN, Addr};

use crate::site::Site;

/// Addresses of the cluster that are somebody's own, collected when they are first asked for.
#[derive(Default)]
pub(super) struct Taken {
    addresses: OnceCell<BTreeSet<IpAddr>>,
}

impl Taken {
    /// The `ADDRESS_*` bits of an external address. One that a pod or another node has gets none: only
    /// the ports of Services are ours, and everything else goes on to its owner.
    pub(super) fn bits(
        &self,
        snapshot: &Snapshot,
        site: &Site,
        endpoints: &[JoinedEndpoint<'_>],
        address: IpAddr,
    ) -> u32 {
        if site.owns(snapshot, address) {
            return ADDRESS_EXTERNAL | ADDRESS_OWN;
        }
        let taken = || {
            let nodes = snapshot.nodes.values().flat_map(|node| node.addresses.iter());
            let pods = snapshot.pods.values().flat_map(|pod| pod.addresses.iter());
            nodes.chain(pods).copied().collect()
        };
        let in_pod_range = || {
            let mut ranges = snapshot.nodes.values().flat_map(|node| node.pod_cidrs.iter());
            ranges.any(|range| range.contains(&address))
        };
        let elsewhere = endpoints.iter().any(|joined| joined.address.ip() == address)
            || site.config.in_cluster(&address.into())
            || self.addresses.get_or_init(taken).contains(&address)
            || in_pod_range();
        if elsewhere { 0 } else { ADDRESS_EXTERNAL }
    }
}

/// Why an external address is not served; `None` if it is.
pub(super) fn refusal(site: &Site, address: IpAddr, named: bool) -> Option<&'static str> {
    special(address).or_else(|| {
        let allowed =
            site.external_ips.is_empty() || site.external_ips.iter().any(|it| it.contains(&address));
        (named && !allowed).then_some("it is outside of --allow-external-ips")
    })
}

/// Addresses that are the same on every host, or nobody's.
fn special(address: IpAddr) -> Option<&'static str> {
    let (link_local, mapped) = match address {
        IpAddr::V4(address) => (address.is_link_local(), false),
        IpAddr::V6(address) => (address.is_unicast_link_local(), address.to_ipv4_mapped().is_some()),
    };
    match address {
        _ if mapped => Some("it is an IPv4-mapped address"),
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_loopback() => Some("it is a loopback address"),
        _ if link_local => Some("it is a link-local address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        _ if !Addr::from(address).is_unicast() => Some("it is a broadcast or reserved address"),
        _ => None,
    }
}

/// Whether an interface of this node has a Service's cluster IP too. Then a program of the node answers at
/// it, as NodeLocal DNS does, and has it to itself.
pub(super) fn is_held_by_node(site: &Site, cluster_ip: IpAddr) -> bool {
    site.addresses.contains(&cluster_ip)
}

/// What an operator should know about a Service's addresses.
pub(super) fn warnings(site: &Site, service: &Service) -> Vec<String> {
    let name = &service.name;
    let balancers = service.load_balancer_ips.iter().map(|address| (address, "load balancer address", false));
    let externals = service.external_ips.iter().map(|address| (address, "external IP", true));
    let refused = balancers.chain(externals).filter_map(|(address, what, named)| {
        let why = refusal(site, *address, named)?;
        Some(format!("service {name}: {what} {address} is not served: {why}"))
    });
    let held = service.cluster_ips.iter().filter(|address| is_held_by_node(site, **address));
    let held = held.map(|address| {
        format!(
            "service {name}: cluster IP {address} is assigned to an interface of this node (NodeLocal DNS?): \
             traffic to it is left to the node"
        )
    });
    refused.chain(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Option<&str>) {
        assert_eq!(special(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn addresses_that_are_everybodys_or_nobodys_are_not_served() {
        check("192.0.2.1", None);
        check("2001:db8::1", None);
        check("fd00::1", None);
        check("0.0.0.0", Some("it is the unspecified address"));
        check("::", Some("it is the unspecified address"));
        check("127.0.0.1", Some("it is a loopback address"));
        check("127.200.0.9", Some("it is a loopback address"));
        check("::1", Some("it is a loopback address"));
        check("169.254.169.254", Some("it is a link-local address"));
        check("fe80::1", Some("it is a link-local address"));
        check("224.0.0.1", Some("it is a multicast address"));
        check("ff02::1", Some("it is a multicast address"));
        check("255.255.255.255", Some("it is a broadcast or reserved address"));
        check("240.0.0.1", Some("it is a broadcast or reserved address"));
        check("0.1.2.3", Some("it is a broadcast or reserved address"));
        check("::ffff:10.96.0.1", Some("it is an IPv4-mapped address"));
    }
}
