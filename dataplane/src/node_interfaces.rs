//! Which interfaces `auto` stands for, and why.
//!
//! The node's interfaces carry its addresses or its routes out. The pods' are the host ends of veths and
//! taps that a route or a bridge leads pods' addresses to. Names are not looked at.

mod bridge;
mod choice;
mod coverage;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::links::{Device, Links, Route};
use crate::pod_network::PodNetwork;

pub use choice::{Choice, Role};
pub use coverage::all_pods_behind;

/// Whether the programs read packets without an Ethernet header (tun, WireGuard, IPIP).
pub const L3_SUPPORTED: bool = false;

/// Why an interface whose packets have no Ethernet header is left out.
pub const L3_REASON: &str = "packets without Ethernet header are not supported";

/// Kinds of devices that no packet arrives by.
const SILENT: [&str; 5] = ["dummy", "ifb", "nlmon", "vrf", "vcan"];

/// What each interface is, but for loopback, in the order of the indexes.
pub fn find(links: &Links, network: &PodNetwork) -> Vec<Choice> {
    let view = View { links, network };
    let devices = links.devices.iter().filter(|(_, device)| !device.loopback);
    let choices = devices.map(|(index, device)| {
        let (role, reason) = view.role(*index, device);
        if role != Role::None && !device.ethernet && !L3_SUPPORTED {
            let reason = format!("{L3_REASON} (otherwise: {reason})");
            return Choice { interface: device.name.clone(), role: Role::None, reason };
        }
        Choice { interface: device.name.clone(), role, reason }
    });
    choices.collect()
}

/// The interfaces that `--pod-interface` of a bridge means: its ports, but not the bridge's own way out.
pub fn ports_of(links: &Links, bridge: u32) -> impl Iterator<Item = &Device> {
    links.ports(bridge).map(|(_, device)| device).filter(|device| !is_uplink(device))
}

struct View<'a> {
    links: &'a Links,
    network: &'a PodNetwork,
}

impl View<'_> {
    fn role(&self, index: u32, device: &Device) -> (Role, String) {
        if let Some(reason) = self.host_route_to_pod(index, device) {
            return (Role::Pod, reason);
        }
        if let Some(decided) = self.member(device) {
            return decided;
        }
        if SILENT.contains(&device.kind.as_str()) {
            return (Role::None, format!("no packet arrives by a {} device", device.kind));
        }
        if let Some(reason) = self.surely_node(index, device) {
            return (Role::Node, reason);
        }
        if let Some(reason) = self.pods_behind(index, device) {
            return (Role::Pod, reason);
        }
        if device.kind == "bridge"
            && let Some(reason) = self.inner_bridge(index, device)
        {
            return (Role::None, reason);
        }
        if let Some(reason) = self.way_out(index, device).or_else(|| carries_address(device)) {
            return (Role::Node, reason);
        }
        if let Some(reason) = self.behind_a_router(index, device) {
            return (Role::Pod, reason);
        }
        (Role::None, "it has no address of the node, and no route leads to it".to_owned())
    }

    fn pod_in(&self, net: &IpNet) -> Option<IpAddr> {
        self.network.pod_in(net, &self.links.addresses)
    }

    fn routes(&self, index: u32) -> impl Iterator<Item = &Route> {
        self.links.routes.iter().filter(move |route| route.device == index)
    }

    /// A pod's address that the kernel finds on the device itself: ptp, kindnet, Calico, the cloud providers.
    fn host_route_to_pod(&self, index: u32, device: &Device) -> Option<String> {
        if !is_end(device) {
            return None;
        }
        let hosts = self.routes(index).filter(|route| route.is_host());
        let mut addresses = hosts.map(|route| route.destination.addr());
        let pod = addresses.find(|address| self.network.is_own(*address))?;
        Some(format!("a route leads pod address {pod} to it"))
    }

    /// What belongs to a bridge or bond is never the node's: that has the addresses and routes.
    fn member(&self, device: &Device) -> Option<(Role, String)> {
        let master = device.master?;
        let Some(above) = self.links.devices.get(&master) else {
            return Some((Role::None, "it belongs to a device of another namespace".to_owned()));
        };
        let name = &above.name;
        match above.kind.as_str() {
            "vrf" => None,
            "bridge" => Some(match self.pods_on(master, above).filter(|_| is_end(device)) {
                Some(reason) => (Role::Pod, format!("port of bridge {name}, {reason}")),
                None => (Role::None, format!("port of bridge {name}, which leads to no pod by it")),
            }),
            _ => Some((Role::None, format!("member of {name}"))),
        }
    }

    /// What outweighs everything that looks like a pod's: kind's and k3d's `eth0` is a veth.
    fn surely_node(&self, index: u32, device: &Device) -> Option<String> {
        if let Some(address) = device.ips().find(|address| self.network.node.contains(address)) {
            return Some(format!("it has the Node's address {address}"));
        }
        let route = self.routes(index).find(|route| route.is_default())?;
        Some(match route.gateway {
            Some(gateway) => format!("the default route leads by it to {gateway}"),
            None => "the default route leads by it".to_owned(),
        })
    }

    /// Pods behind an end that neither a host route nor a bridge leads to.
    fn pods_behind(&self, index: u32, device: &Device) -> Option<String> {
        if !is_end(device) {
            return None;
        }
        let own = |net: &IpNet| self.network.ranges.iter().any(|range| range.contains(net));
        let routed = self.routes(index).filter(|route| route.gateway.is_none() || own(&route.destination));
        let nets = routed.map(|route| route.destination).chain(device.addresses.iter().map(|it| it.net));
        for net in nets.filter(is_network) {
            if let Some(pod) = self.pod_in(&net) {
                return Some(format!("pod address {pod} is in its network {}", net.trunc()));
            }
            if self.network.holds(&net) {
                return Some(format!("a route leads pods' network {} to it", net.trunc()));
            }
        }
        let networked = device.addresses.iter().any(|it| it.source && is_network(&it.net));
        let mut hosts = self.routes(index).filter(|route| route.is_host() && !networked);
        hosts
            .next()
            .map(|route| format!("a route leads the single address {} to it", route.destination.addr()))
    }

    /// A route to elsewhere: by a router, or by a tunnel to other nodes' pods.
    fn way_out(&self, index: u32, device: &Device) -> Option<String> {
        let connected = |route: &Route| device.addresses.iter().any(|it| it.net.contains(&route.destination));
        let elsewhere =
            |route: &&Route| is_network(&route.destination) && (route.gateway.is_some() || !connected(route));
        let route = self.routes(index).find(elsewhere)?;
        let whose = if self.network.holds(&route.destination) { " of other nodes' pods" } else { "" };
        Some(format!("the route to {}{whose} leads by it", route.destination))
    }

    /// An end without any route of its own, where the pods' range is routed to a veth whose other end is in
    /// this namespace: programs there find the pod (Cilium without endpoint routes).
    fn behind_a_router(&self, index: u32, device: &Device) -> Option<String> {
        let bare = device.addresses.iter().all(|it| !it.source) && self.routes(index).next().is_none();
        if !bare || !device.foreign_peer || !is_end(device) {
            return None;
        }
        let route = self.links.routes.iter().find(|route| {
            let router = self.links.devices.get(&route.device);
            let inner = router.is_some_and(|it| it.kind == "veth" && !it.foreign_peer && it.parent.is_some());
            let net = &route.destination;
            inner && (self.network.ranges.contains(net) || self.pod_in(net).is_some())
        })?;
        let router = &self.links.devices.get(&route.device)?.name;
        Some(format!(
            "{router} has the route to this node's pods {}, which programs lead to it",
            route.destination
        ))
    }
}

/// The host's end of what a pod or a virtual machine has: a veth or netkit whose other end is in another
/// namespace, or a tap.
fn is_end(device: &Device) -> bool {
    match device.kind.as_str() {
        "veth" | "netkit" => device.foreign_peer,
        "tun" => device.ethernet,
        "macvtap" | "ipvtap" => true,
        _ => false,
    }
}

/// A port by which a bridge reaches other machines.
fn is_uplink(device: &Device) -> bool {
    matches!(
        device.kind.as_str(),
        "" | "vlan" | "bond" | "team" | "vxlan" | "geneve" | "gretap" | "ip6gretap"
    )
}

fn is_network(net: &IpNet) -> bool {
    net.prefix_len() < net.max_prefix_len()
}

/// An address of the node by which it can be reached. A veth's end with a single address is the gateway of a pod
/// whose route is still to come.
fn carries_address(device: &Device) -> Option<String> {
    let reachable = |address: IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let mut nets = device.addresses.iter().map(|address| address.net);
    let net = nets.find(|net| reachable(net.addr()) && (is_network(net) || !is_end(device)))?;
    Some(format!("it has the node's address {net}"))
}

#[cfg(test)]
mod tests;
