//! A node that forwards packets, and pods behind it.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use ipnet::{IpNet, Ipv6Net};

use crate::{
    End, Error, Namespace, NodeSettings, Route, Veth,
    firewall::{self, Rules},
};

/// The name of every pod's own link.
const POD_LINK: &str = "eth0";
/// Where a node sends what goes to a pod's own IPv6 network.
const POD_LINK_LOCAL: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2), 64));
const MTU: u32 = 1500;

/// A namespace with forwarding on, and the address its pods use as their gateway.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    gateways: Vec<IpAddr>,
    settings: NodeSettings,
    pod_links: PodLinks,
    pod_mtu: u32,
    rules: Mutex<Rules>,
}

/// How pods are linked to their node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodLinks {
    /// A veth and a route each, as Calico and kindnet have it.
    PointToPoint,
    /// Ports of a bridge of this name that has the gateways' addresses, as flannel and the bridge
    /// plugin have it.
    Bridge(String),
}

/// A pod: a namespace behind a veth of its own.
#[derive(Debug)]
pub struct Pod {
    /// The pod's namespace; its link is called `eth0`.
    pub namespace: Namespace,
    /// The name of the link's other end, on the node.
    pub interface: String,
    /// The pod's addresses, networks if it owns more than one each.
    pub addresses: Vec<IpNet>,
}

impl Node {
    /// A hostile node whose pods have `gateways` as their gateway, one address of each family in use.
    ///
    /// # Errors
    /// As [`Namespace::new`], and without the `nft` tool.
    pub fn new(name: &str, gateways: &[IpAddr]) -> Result<Self, Error> {
        Self::with(name, gateways, NodeSettings::hostile())
    }

    /// A node with these settings.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(name: &str, gateways: &[IpAddr], settings: NodeSettings) -> Result<Self, Error> {
        let namespace = Namespace::new(name)?;
        namespace.set_forwarding()?;
        let rules = Mutex::default();
        let gateways = gateways.to_vec();
        let (pod_links, pod_mtu) = (PodLinks::PointToPoint, MTU);
        let node = Self { namespace, gateways, settings, pod_links, pod_mtu, rules };
        node.put_in_force()?;
        Ok(node)
    }

    /// Links pods by a bridge of this name instead of point to point.
    ///
    /// # Errors
    /// When the kernel has no bridges or the name is taken.
    pub fn bridge_pods(&mut self, name: &str) -> Result<(), Error> {
        self.namespace.add_bridge(name, &[])?;
        self.namespace.set_up(name)?;
        for &gateway in &self.gateways {
            self.namespace.add_address(name, on_subnet(gateway))?;
        }
        self.pod_links = PodLinks::Bridge(name.into());
        Ok(())
    }

    /// Sets the MTU of the links of pods added from now on, for instance for a tunnel's sake.
    pub fn set_pod_mtu(&mut self, mtu: u32) {
        self.pod_mtu = mtu;
    }

    /// Changes the settings of the node; links that are there keep their offloads.
    ///
    /// # Errors
    /// When the kernel or `nft` refuses one.
    pub fn apply(&mut self, settings: NodeSettings) -> Result<(), Error> {
        let is_change = self.settings != settings;
        self.settings = settings;
        if is_change {
            Rules::clear(&self.namespace)?;
        }
        self.put_in_force()
    }

    /// What it is like.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// Lets the firewall know networks of pods on other nodes.
    ///
    /// # Errors
    /// When `nft` refuses them.
    pub fn know_pods(&self, networks: &[IpNet]) -> Result<(), Error> {
        self.change_rules(|rules| rules.pods.extend(networks.iter().map(IpNet::trunc)))
    }

    /// Opens ports of the node's own in its firewall, TCP and UDP, beside those of Kubernetes.
    ///
    /// # Errors
    /// When `nft` refuses them.
    pub fn open_ports(&self, ports: &[u16]) -> Result<(), Error> {
        self.change_rules(|rules| rules.ports.extend(ports))
    }

    /// Which rules of its firewall have counted packets, a line each; for messages.
    #[must_use]
    pub fn firewall_counters(&self) -> String {
        firewall::counters(&self.namespace)
    }

    /// The node's namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Adds a pod. `name` (at most 15 bytes) is its name and that of the link on the node.
    /// An address with a full prefix is put on the pod's link; of a shorter one the pod owns the
    /// whole network (point to point only).
    ///
    /// # Errors
    /// When an address has a family without gateway, or the name is taken.
    pub fn add_pod(&self, name: &str, addresses: &[IpNet]) -> Result<Pod, Error> {
        let namespace = Namespace::new(name)?;
        let pod = Pod { namespace, interface: name.into(), addresses: addresses.to_vec() };
        self.link_pod(&pod)?;
        self.know_pods(addresses)?;
        Ok(pod)
    }

    /// Links a pod whose link is gone: a new interface under the old name.
    ///
    /// # Errors
    /// As [`add_pod`](Self::add_pod).
    pub fn link_pod(&self, pod: &Pod) -> Result<(), Error> {
        match &self.pod_links {
            PodLinks::PointToPoint => self.link_point_to_point(pod),
            PodLinks::Bridge(bridge) => self.link_to_bridge(pod, bridge),
        }
    }

    fn link_to_bridge(
        &self,
        Pod { namespace: pod, interface, addresses }: &Pod,
        bridge: &str,
    ) -> Result<(), Error> {
        let far =
            End::new(pod, POD_LINK).addresses(addresses.iter().map(|address| on_subnet(address.addr())));
        let near = End::new(&self.namespace, interface);
        Veth::new(near, far).offload(self.settings.offload).mtu(self.pod_mtu).connect()?;
        self.namespace.add_port(bridge, interface, true)?;
        self.gateways.iter().try_for_each(|&gateway| pod.add_route(&Route::default_via(gateway)))
    }

    fn link_point_to_point(&self, Pod { namespace: pod, interface, addresses }: &Pod) -> Result<(), Error> {
        let owns_network_v6 = addresses.iter().any(|address| address.addr().is_ipv6() && !is_single(address));
        if owns_network_v6 {
            // IPv4 lets a program bind to an address that is only local by a route; IPv6 asks for this.
            pod.set("net/ipv6/ip_nonlocal_bind", "1")?;
        }
        let gateways = self.gateways.iter().map(|&address| IpNet::from(address));
        let near = End::new(&self.namespace, interface).addresses(gateways);
        let singles = addresses.iter().copied().filter(is_single);
        let far = End::new(pod, POD_LINK).addresses(singles);
        let far = if owns_network_v6 { far.address(POD_LINK_LOCAL) } else { far };
        Veth::new(near, far).offload(self.settings.offload).mtu(self.pod_mtu).connect()?;
        for &gateway in &self.gateways {
            pod.add_route(&Route::to(gateway).link(POD_LINK))?;
            pod.add_route(&Route::default_via(gateway).link(POD_LINK).onlink())?;
        }
        for address in addresses {
            let route = Route::to(address.trunc()).link(interface);
            if is_single(address) {
                self.namespace.add_route(&route)?;
            } else {
                pod.add_route(&Route::local(*address))?;
                // A pod answers ARP for every address local to it, but not neighbour solicitations.
                let is_v6 = address.addr().is_ipv6();
                let route = if is_v6 { route.via(POD_LINK_LOCAL.addr()) } else { route };
                self.namespace.add_route(&route)?;
            }
        }
        Ok(())
    }

    fn change_rules(&self, change: impl FnOnce(&mut Rules)) -> Result<(), Error> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rules);
        rules.apply(&self.namespace, &self.settings)
    }

    fn put_in_force(&self) -> Result<(), Error> {
        let strict = if self.settings.reverse_path_filter { "1" } else { "0" };
        // The larger of `all` and the interface's own counts.
        for conf in self.namespace.run(|| list("/proc/sys/net/ipv4/conf"))? {
            self.namespace.set(&format!("net/ipv4/conf/{conf}/rp_filter"), strict)?;
        }
        let bridged = if self.settings.bridge_netfilter { "1" } else { "0" };
        // Kernels without one of these parts do not have its setting either.
        for (key, value) in [
            ("net/bridge/bridge-nf-call-iptables", bridged),
            ("net/bridge/bridge-nf-call-ip6tables", bridged),
            ("net/netfilter/nf_conntrack_tcp_be_liberal", "0"),
        ] {
            self.namespace.set_if_there(key, value)?;
        }
        self.change_rules(|_| {})
    }
}

fn list(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_single(address: &IpNet) -> bool {
    address.prefix_len() == address.max_prefix_len()
}

/// The address in its network of usual length.
pub(crate) fn on_subnet(address: IpAddr) -> IpNet {
    IpNet::new_assert(address, if address.is_ipv4() { 24 } else { 64 })
}
