//! Whether every pod of the node is behind one of its pods' interfaces.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::links::Links;
use crate::pod_network::PodNetwork;

/// Whether packets of all pods that are known pass one of the interfaces `pods`. Pods whose devices the node does
/// not see (macvlan, SR-IOV) are not; then sockets must not leave a choice to packets.
pub fn all_pods_behind(links: &Links, network: &PodNetwork, pods: &BTreeSet<String>) -> bool {
    let mut known = network.addresses.iter().filter(|address| !links.addresses.contains(address));
    !pods.is_empty() && known.all(|address| is_behind(links, *address, pods))
}

fn is_behind(links: &Links, address: IpAddr, pods: &BTreeSet<String>) -> bool {
    let routes = links.routes.iter().filter(|route| route.destination.contains(&address));
    let Some(route) = routes.max_by_key(|route| route.destination.prefix_len()) else { return false };
    let Some(device) = links.devices.get(&route.device) else { return false };
    let by_port = || links.ports(route.device).any(|(_, port)| pods.contains(&port.name));
    // Where programs route by themselves, a veth to here stands for all of them.
    let by_program = || device.kind == "veth" && device.parent.is_some();
    pods.contains(&device.name) || by_port() || by_program()
}
