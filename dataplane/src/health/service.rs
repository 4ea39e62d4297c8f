//! The health check ports of Services: how many endpoints of a Service this node has, byte for byte
//! as kube-proxy tells it to load balancers (`pkg/proxy/healthcheck/service_health.go`).
//!
//! Each family has its own servers and counts. A port that cannot be listened on is left out, is
//! reported, and is tried again with the next set of Services; the others work.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use seaway_cluster::{AddressFamily, ServiceName, Snapshot};

use super::Answer;
use crate::site::Site;

/// The servers of one family. `L` is a listener; it closes when it is dropped.
#[derive(Debug)]
pub struct ServiceHealth<L> {
    open: BTreeMap<ServiceName, Open<L>>,
}

/// What the Services of a family ask for, kept up with the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Their family.
    pub family: AddressFamily,
    /// Health check ports by Service.
    pub ports: BTreeMap<ServiceName, u16>,
    /// Distinct addresses on this node that are ready, by Service; those with none are absent.
    pub ready: BTreeMap<ServiceName, usize>,
}

/// A port that nobody can be answered on.
#[derive(Debug, thiserror::Error)]
#[error("service {service}: cannot listen on {address} for its health checks; it will be tried again")]
pub struct Closed {
    /// Whose it is.
    pub service: ServiceName,
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

#[derive(Debug)]
struct Open<L> {
    port: u16,
    addresses: BTreeSet<IpAddr>,
    ready: usize,
    _listeners: Vec<L>,
}

impl<L> Default for ServiceHealth<L> {
    fn default() -> Self {
        Self { open: BTreeMap::new() }
    }
}

impl<L> ServiceHealth<L> {
    /// Takes over the whole set of Services and their ports, to be served on each of `addresses`.
    /// A Service whose port is a new one has no endpoint until the next [`count`](Self::count).
    /// Returns the ports that cannot be had.
    pub fn serve(
        &mut self,
        ports: &BTreeMap<ServiceName, u16>,
        addresses: &BTreeSet<IpAddr>,
        mut listen: impl FnMut(&ServiceName, SocketAddr) -> io::Result<L>,
    ) -> Vec<Closed> {
        // All that is given up goes first: one Service may take another's port.
        self.open
            .retain(|service, open| ports.get(service) == Some(&open.port) && open.addresses == *addresses);
        let mut closed = Vec::new();
        for (service, port) in ports {
            if self.open.contains_key(service) {
                continue;
            }
            let places = addresses.iter().map(|address| SocketAddr::new(*address, *port));
            let listeners = places.map(|address| {
                let failed = |source| Closed { service: service.clone(), address, source };
                listen(service, address).map_err(failed)
            });
            match listeners.collect() {
                Ok(listeners) => {
                    let open =
                        Open { port: *port, addresses: addresses.clone(), ready: 0, _listeners: listeners };
                    self.open.insert(service.clone(), open);
                }
                Err(error) => closed.push(error),
            }
        }
        closed
    }

    /// Takes over the whole set of counts. A Service that is not in it has none.
    pub fn count(&mut self, ready: &BTreeMap<ServiceName, usize>) {
        for (service, open) in &mut self.open {
            open.ready = ready.get(service).copied().unwrap_or(0);
        }
    }

    /// Whether a Service's port is open.
    pub fn serves(&self, service: &ServiceName) -> bool {
        self.open.contains_key(service)
    }

    /// Where somebody listens.
    pub fn listening(&self) -> BTreeSet<SocketAddr> {
        let places = |open: &Open<L>| -> Vec<SocketAddr> {
            open.addresses.iter().map(|address| SocketAddr::new(*address, open.port)).collect()
        };
        self.open.values().flat_map(places).collect()
    }

    /// Answers a request at the port of a Service, whatever its method and path. One that was on
    /// its way when the port was closed gets nothing, with status 200.
    pub fn answer(&self, service: &ServiceName, proxy_healthy: bool) -> Answer {
        let Some(Open { ready, .. }) = self.open.get(service) else {
            return Answer { status: 200, headers: Vec::new(), body: String::new() };
        };
        let status = if *ready != 0 && proxy_healthy { 200 } else { 503 };
        let body = format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\
             \"localEndpoints\": {ready},\n\t\"serviceProxyHealthy\": {proxy_healthy}\n}}",
            service.namespace, service.name
        );
        let mut answer = Answer::typed(status, "application/json", body);
        answer.headers.push(("X-Load-Balancing-Endpoint-Weight", ready.to_string()));
        answer
    }
}

impl Wanted {
    /// Nothing yet.
    pub fn new(family: AddressFamily) -> Self {
        Self { family, ports: BTreeMap::new(), ready: BTreeMap::new() }
    }

    /// Takes over what the facts say of some Services. Returns whether anything changed.
    pub fn update<'a>(
        &mut self,
        snapshot: &Snapshot,
        node: &str,
        services: impl IntoIterator<Item = &'a ServiceName>,
    ) -> bool {
        let mut changed = false;
        for name in services {
            let service = snapshot.services.get(name).filter(|service| service.proxied());
            let service = service.filter(|service| service.cluster_ip(self.family).is_some());
            let service = service.filter(|service| !service.ports.is_empty());
            let port = service.and_then(|service| service.health_check_port());
            let ready =
                port.map(|_| snapshot.local_ready(name, self.family, node)).filter(|ready| *ready > 0);
            changed |= replace(&mut self.ports, name, port) | replace(&mut self.ready, name, ready);
        }
        changed
    }
}

/// Where the servers of a family listen: on the addresses of `--nodeport-addresses`, of which the
/// default is the node's primary one. A range of everything, and one that no interface has an
/// address in, mean every address.
pub fn addresses(site: &Site, snapshot: &Snapshot, family: AddressFamily) -> BTreeSet<IpAddr> {
    let any: IpAddr = match family {
        AddressFamily::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let everything = site.node_ports.iter().any(|range| range.prefix_len() == 0 && range.contains(&any));
    if everything {
        return BTreeSet::from([any]);
    }
    let served = site.node_port_addresses(snapshot);
    let loopback = site.addresses.iter().filter(|address| address.is_loopback());
    let loopback = loopback.filter(|address| site.node_ports.iter().any(|range| range.contains(*address)));
    let here =
        |address: &&IpAddr| AddressFamily::of(**address) == family && site.addresses.contains(*address);
    let found: BTreeSet<IpAddr> = served.iter().chain(loopback).filter(here).copied().collect();
    if found.is_empty() { BTreeSet::from([any]) } else { found }
}

fn replace<V: PartialEq>(map: &mut BTreeMap<ServiceName, V>, name: &ServiceName, value: Option<V>) -> bool {
    if map.get(name) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => _ = map.insert(name.clone(), value),
        None => _ = map.remove(name),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(node_ports: &[&str], interfaces: &[&str], family: AddressFamily, expected: &[&str]) {
        let addresses_of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let site = Site {
            addresses: addresses_of(interfaces),
            routed: interfaces.iter().take(1).map(|text| text.parse().unwrap()).collect(),
            node_ports: node_ports.iter().map(|text| text.parse().unwrap()).collect(),
            ..Site::default()
        };
        assert_eq!(addresses(&site, &Snapshot::default(), family), addresses_of(expected));
    }

    #[test]
    fn health_is_told_where_node_ports_are_served() {
        let here = ["192.0.2.1", "198.51.100.1", "127.0.0.1", "2001:db8::1"];
        check(&[], &here, AddressFamily::Ipv4, &["192.0.2.1"]);
        check(&["198.51.100.0/24"], &here, AddressFamily::Ipv4, &["198.51.100.1"]);
        check(&["127.0.0.0/8"], &here, AddressFamily::Ipv4, &["127.0.0.1"]);
        check(&["0.0.0.0/0"], &here, AddressFamily::Ipv4, &["0.0.0.0"]);
        check(&["0.0.0.0/0"], &here, AddressFamily::Ipv6, &["::"]);
        check(&["2001:db8::/64"], &here, AddressFamily::Ipv6, &["2001:db8::1"]);
        check(&["203.0.113.0/24"], &here, AddressFamily::Ipv4, &["0.0.0.0"]);
        check(&[], &[], AddressFamily::Ipv6, &["::"]);
    }
}
