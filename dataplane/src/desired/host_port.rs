//! Host ports: ports of this node that lead to one of its pods.
//!
//! The rules are those of the CNI portmap plugin: a pod has its host ports from the time it has an
//! address until it has ended. Pods in the host's network namespace need no translation.

use std::collections::BTreeMap;
use std::net::IpAddr;

use itertools::Itertools;
use seaway_cluster::{AddressFamily, ObjectName, Pod, PodPort, Snapshot};
use seaway_common::{
    Be16, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_LOOPBACK, SERVICE_LOOPBACK_NET, SERVICE_NEAR,
    SERVICE_SOMEWHERE,
};

use super::port::{Port, Target, loopback};
use super::{PortKey, frontend};
use crate::site::Site;

/// Starts the name of a port that stands for a pod's; no Service is called so.
const PREFIX: &str = "pod=";

/// Whether a key is a host port's.
pub(super) fn is_one(key: &PortKey) -> bool {
    key.service.name.starts_with(PREFIX)
}

/// The host ports of this node's pods.
pub(super) fn ports_of(snapshot: &Snapshot, site: &Site) -> BTreeMap<PortKey, Port> {
    let served = site.node_port_addresses(snapshot);
    let here = |pod: &&Pod| {
        !site.node.is_empty()
            && pod.node.as_deref() == Some(&*site.node)
            && !pod.host_network
            && !pod.finished
    };
    let mut ports = BTreeMap::new();
    for pod in snapshot.pods.values().map(AsRef::as_ref).filter(here) {
        for port in pod.ports.iter().filter(|port| port.host_port != 0) {
            for family in [AddressFamily::Ipv4, AddressFamily::Ipv6] {
                let of_family = |address: &&IpAddr| AddressFamily::of(**address) == family;
                let Some(address) = pod.addresses.iter().find(of_family) else { continue };
                let places = frontends(site, snapshot, &served, port, family);
                let claims = places
                    .into_iter()
                    .map(|(place, flags)| (frontend(place, port.host_port, port.protocol), flags));
                let target = Target {
                    addr: (*address).into(),
                    port: Be16::new(port.container_port),
                    local: true,
                    host: false,
                    weight: 1,
                };
                let claims: Box<[_]> = claims.sorted_unstable().collect();
                if claims.is_empty() {
                    continue;
                }
                let (cluster, local) = ([target].into(), [target].into());
                ports.insert(key_of(pod, port, family), Port { claims, cluster, local, ..Port::default() });
            }
        }
    }
    ports
}

fn frontends(
    site: &Site,
    snapshot: &Snapshot,
    served: &std::collections::BTreeSet<IpAddr>,
    port: &PodPort,
    family: AddressFamily,
) -> BTreeMap<IpAddr, u32> {
    let flags = SERVICE_EXTERNAL | SERVICE_EXTERNAL_LOCAL | SERVICE_NEAR | SERVICE_SOMEWHERE;
    let any = |address: IpAddr| address.is_unspecified();
    match port.host_ip {
        Some(only) if !any(only) => {
            let ours = AddressFamily::of(only) == family;
            if ours && only.is_loopback() {
                return BTreeMap::from([(only, flags | SERVICE_LOOPBACK)]);
            }
            let here = ours && (site.owns(snapshot, only) || served.contains(&only));
            here.then_some((only, flags)).into_iter().collect()
        }
        _ => {
            // Every address of the node, not only those of node ports.
            let own = site.addresses.iter().chain(served).copied();
            let own = own.filter(|address| AddressFamily::of(*address) == family && !address.is_loopback());
            own.map(|address| (address, flags))
                .chain([(loopback(family), flags | SERVICE_LOOPBACK | SERVICE_LOOPBACK_NET)])
                .collect()
        }
    }
}

/// Two ports of a pod may lead to one container port, so the host's address and port name it.
fn key_of(pod: &Pod, port: &PodPort, family: AddressFamily) -> PortKey {
    let on = port.host_ip.filter(|address| !address.is_unspecified());
    let on = on.map(|address| format!("{address}-").replace(':', ".")).unwrap_or_default();
    PortKey {
        service: ObjectName::new(&*pod.name.namespace, format!("{PREFIX}{}", pod.name.name)),
        port: format!("{on}{}", port.host_port).into(),
        protocol: port.protocol,
        family,
    }
}
