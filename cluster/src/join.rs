//! The endpoints of a Service's port, joined from all of its slices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::{AddressFamily, Endpoint, Protocol, ServiceName, ServicePort, Snapshot};

/// A port of a Service as slices name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey<'a> {
    /// The port's name; empty for an unnamed one.
    pub name: &'a str,
    /// Transport protocol; one name in two protocols is two ports.
    pub protocol: Protocol,
}

/// One address and port that serves a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedEndpoint<'a> {
    /// Where it listens; unique within a joined list.
    pub address: SocketAddr,
    /// Its state, place and hints.
    pub endpoint: &'a Endpoint,
}

impl Snapshot {
    /// The endpoints of one port, in order of address.
    ///
    /// Slices of the other family and headless ones are left out. Where two entries have the same
    /// address and port, a later one that is not terminating replaces the earlier, and a
    /// terminating one never does (kube-proxy `endpointslicecache.go`); slices come in order of
    /// their names.
    pub fn endpoints_of(
        &self,
        service: &ServiceName,
        port: &ServicePort,
        family: AddressFamily,
    ) -> Vec<JoinedEndpoint<'_>> {
        let wanted = PortKey { name: &port.name, protocol: port.protocol };
        self.joined(service, family, |key| key == wanted).into_values().next().unwrap_or_default()
    }

    /// The endpoints of all ports that the Service's slices name, in one pass. A port without
    /// endpoints is absent.
    pub fn endpoints_by_port(
        &self,
        service: &ServiceName,
        family: AddressFamily,
    ) -> BTreeMap<PortKey<'_>, Vec<JoinedEndpoint<'_>>> {
        self.joined(service, family, |_| true)
    }

    /// How many distinct addresses of `node` are ready for some port of the Service: the number
    /// that its health check reports.
    pub fn local_ready(&self, service: &ServiceName, family: AddressFamily, node: &str) -> usize {
        let joined = self.endpoints_by_port(service, family);
        let entries = joined.values().flatten();
        let local = entries.filter(|entry| entry.endpoint.ready && entry.endpoint.node() == Some(node));
        local.map(|entry| entry.endpoint.address).collect::<BTreeSet<_>>().len()
    }

    fn joined<'a>(
        &'a self,
        service: &ServiceName,
        family: AddressFamily,
        wanted: impl Fn(PortKey<'_>) -> bool,
    ) -> BTreeMap<PortKey<'a>, Vec<JoinedEndpoint<'a>>> {
        let mut ports: BTreeMap<PortKey<'a>, Vec<JoinedEndpoint<'a>>> = BTreeMap::new();
        for slice in self.slices_of(service).filter(|slice| slice.family == family && !slice.headless) {
            for port in &slice.ports {
                let key = PortKey { name: &port.name, protocol: port.protocol };
                if wanted(key) && !slice.endpoints.is_empty() {
                    let entries = slice.endpoints.iter().map(|endpoint| JoinedEndpoint {
                        address: SocketAddr::new(endpoint.address, port.port),
                        endpoint,
                    });
                    ports.entry(key).or_default().extend(entries);
                }
            }
        }
        ports.values_mut().for_each(unify);
        ports
    }
}

/// Sorts the entries and leaves one of each address.
fn unify(entries: &mut Vec<JoinedEndpoint<'_>>) {
    // The sort is stable: entries of one address stay in the order in which they came.
    entries.sort_by_key(|entry| entry.address);
    entries.dedup_by(|later, kept| {
        let same = later.address == kept.address;
        if same && !later.endpoint.terminating {
            *kept = *later;
        }
        same
    });
}
