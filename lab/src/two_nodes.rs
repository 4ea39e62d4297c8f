//! Two nodes with pods and a client, in the layouts that clusters have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{
    End, Error, Namespace, Node, NodeSettings, Offload, Pod, Route, Veth, Vlan, Vxlan, node::on_subnet,
};

const VXLAN: &str = "flannel.1";
const VXLAN_PORT: u16 = 8472;
const VXLAN_MTU: u32 = 1450;
const BRIDGE: &str = "cni0";
const TRUNK: &str = "eth0";
const VLAN: u16 = 100;

/// How nodes, pods and the client are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// A veth and a route for each pod; nodes route each other's pods directly.
    PointToPoint,
    /// The same with pods as ports of a bridge `cni0`.
    Bridge,
    /// Bridged pods, and VXLAN with an MTU of 1450 between the nodes.
    Vxlan,
    /// The client is behind one uplink, the other node behind another.
    TwoUplinks,
    /// The uplink is a VLAN on a trunk, with a dot in its name. A kernel without VLANs gets an
    /// untagged link of that name.
    VlanUplink,
}

/// A client, a node `n1` for an agent, a node `n2` that only routes, and pods on both.
///
/// ```text
/// client 192.0.2.10 2001:db8::10, default route: n1
///   | a switch; routers 192.0.2.254 and 2001:db8::ff, where everything ends
///   |- n1 192.0.2.1 2001:db8::1       pods 10.1.1.0/24 fd77:1::/64
///   |- n2 192.0.2.2 2001:db8::2       pods 10.1.2.0/24 fd77:2::/64
///   with two uplinks: n1 198.18.0.1 2001:db8:1::1 - n2 198.18.0.2 2001:db8:1::2 instead
/// ```
#[derive(Debug)]
pub struct TwoNodes {
    /// Where connections from outside come from.
    pub client: Namespace,
    /// `n1`, where an agent runs, and `n2`.
    pub nodes: [Node; 2],
    /// Pods of `n1`.
    pub local: Vec<Pod>,
    /// Pods of `n2`.
    pub remote: Vec<Pod>,
    layout: Layout,
    switch: Namespace,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::PointToPoint, Self::Bridge, Self::Vxlan, Self::TwoUplinks, Self::VlanUplink];

    /// The link of `n1` to the client.
    #[must_use]
    pub const fn uplink(self) -> &'static str {
        match self {
            Self::VlanUplink => "eth0.100",
            _ => "eth0",
        }
    }

    const fn is_bridged(self) -> bool {
        matches!(self, Self::Bridge | Self::Vxlan)
    }
}

impl TwoNodes {
    /// The client's addresses.
    pub const CLIENT: [IpAddr; 2] = outside(10);
    /// The addresses of `n1` on the client's side.
    pub const N1: [IpAddr; 2] = outside(1);
    /// The second uplink of `n1`, if the layout has one.
    pub const SECOND_UPLINK: &str = "eth1";

    /// Builds the network, with `pods` pods on each node.
    ///
    /// # Errors
    /// As [`Node::new`].
    pub fn new(layout: Layout, settings: &NodeSettings, pods: u8) -> Result<Self, Error> {
        let node = |name: &str, number: u8| {
            let mut node = Node::with(name, &pod_addresses(number, 1), settings.clone())?;
            if layout.is_bridged() {
                node.bridge_pods(BRIDGE)?;
            }
            if layout == Layout::Vxlan {
                node.set_pod_mtu(VXLAN_MTU);
            }
            Ok::<_, Error>(node)
        };
        let nodes = [node("n1", 1)?, node("n2", 2)?];
        let [switch, client] = ["switch", "client"].map(Namespace::new);
        let network =
            Self { client: client?, nodes, local: Vec::new(), remote: Vec::new(), layout, switch: switch? };
        network.connect_uplinks(settings.offload)?;
        network.connect_nodes()?;
        let add = |number: u8| (1..=pods).map(move |index| (number, index));
        let pod = |(number, index): (u8, u8)| {
            let addresses = pod_addresses(number, 110 + index).map(IpNet::from);
            network.nodes[usize::from(number) - 1].add_pod(&format!("veth{number}{index}"), &addresses)
        };
        let local = add(1).map(pod).collect::<Result<_, _>>()?;
        let remote = add(2).map(pod).collect::<Result<_, _>>()?;
        Ok(Self { local, remote, ..network })
    }

    /// Changes the settings of both nodes and the offloads of every link.
    ///
    /// # Errors
    /// As [`Node::apply`].
    pub fn apply(&mut self, settings: &NodeSettings) -> Result<(), Error> {
        for node in &mut self.nodes {
            node.apply(settings.clone())?;
        }
        let own = |pod: &Pod, node: usize| [(pod.interface.clone(), node)];
        let ends = self
            .local
            .iter()
            .flat_map(|pod| own(pod, 0))
            .chain(self.remote.iter().flat_map(|pod| own(pod, 1)));
        for (link, node) in ends {
            self.nodes[node].namespace().set_offload(&link, settings.offload)?;
        }
        for pod in self.local.iter().chain(&self.remote) {
            pod.namespace.set_offload("eth0", settings.offload)?;
        }
        for (namespace, link) in self.uplink_ends() {
            namespace.set_offload(link, settings.offload)?;
        }
        Ok(())
    }

    /// How it is laid out.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The addresses of the pod with this number, from 1, on node 1 or 2.
    #[must_use]
    pub const fn pod_addresses(node: u8, pod: u8) -> [IpAddr; 2] {
        pod_addresses(node, 110 + pod)
    }

    /// The addresses of `n2` that `n1` reaches it by.
    #[must_use]
    pub fn n2(&self) -> [IpAddr; 2] {
        if self.layout == Layout::TwoUplinks { between(2) } else { outside(2) }
    }

    fn uplink_ends(&self) -> Vec<(&Namespace, &'static str)> {
        let [n1, n2] = self.nodes.each_ref().map(Node::namespace);
        let trunk = if self.is_tagged() { TRUNK } else { self.layout.uplink() };
        let mut ends =
            vec![(&self.client, "eth0"), (n1, trunk), (&self.switch, "client"), (&self.switch, "n1")];
        if self.layout == Layout::TwoUplinks {
            ends.extend([(n1, Self::SECOND_UPLINK), (n2, TRUNK)]);
        } else {
            ends.extend([(n2, TRUNK), (&self.switch, "n2")]);
        }
        ends
    }

    /// Whether the uplink of `n1` carries tagged frames.
    fn is_tagged(&self) -> bool {
        self.layout == Layout::VlanUplink && has_vlans()
    }

    fn connect_uplinks(&self, offload: Offload) -> Result<(), Error> {
        let [n1, n2] = self.nodes.each_ref().map(Node::namespace);
        let mut ports = vec!["client", "n1"];
        let plug = |port: &str, namespace: &Namespace, link: &str| {
            Veth::new(End::new(&self.switch, port), End::new(namespace, link)).offload(offload).connect()
        };
        plug("client", &self.client, "eth0")?;
        if self.is_tagged() {
            plug("n1", n1, TRUNK)?;
            n1.add_vlan(&Vlan { name: self.layout.uplink(), trunk: TRUNK, id: VLAN })?;
            // The switch takes the tag off.
            self.switch.add_vlan(&Vlan { name: "n1.100", trunk: "n1", id: VLAN })?;
            ports[1] = "n1.100";
        } else {
            plug("n1", n1, self.layout.uplink())?;
        }
        if self.layout == Layout::TwoUplinks {
            let near = End::new(n1, Self::SECOND_UPLINK).addresses(between(1).map(on_subnet));
            let far = End::new(n2, TRUNK).addresses(between(2).map(on_subnet));
            Veth::new(near, far).offload(offload).connect()?;
        } else {
            plug("n2", n2, TRUNK)?;
            ports.push("n2");
            outside(2).map(on_subnet).into_iter().try_for_each(|own| n2.add_address(TRUNK, own))?;
        }
        self.switch.add_bridge("br0", &ports)?;
        self.switch.set_up("br0")?;
        for (namespace, link, own) in [
            (&self.client, "eth0", Self::CLIENT),
            (n1, self.layout.uplink(), Self::N1),
            (&self.switch, "br0", outside(255 - 1)),
        ] {
            own.map(on_subnet).into_iter().try_for_each(|own| namespace.add_address(link, own))?;
        }
        for (gateway, router) in Self::N1.into_iter().zip(outside(254)) {
            self.client.add_route(&Route::default_via(gateway))?;
            n1.add_route(&Route::default_via(router))?;
        }
        Ok(())
    }

    /// Routes of each node to the other's pods.
    fn connect_nodes(&self) -> Result<(), Error> {
        let n1 = if self.layout == Layout::TwoUplinks { between(1) } else { Self::N1 };
        let addresses = [n1, self.n2()];
        for (own, other) in [(0, 1), (1, 0)] {
            let node = &self.nodes[own];
            let networks = pod_networks(other + 1);
            node.know_pods(&networks)?;
            if self.layout == Layout::Vxlan {
                continue;
            }
            for (network, gateway) in networks.into_iter().zip(addresses[other]) {
                node.namespace().add_route(&Route::to(network).via(gateway))?;
            }
        }
        if self.layout == Layout::Vxlan { self.connect_tunnel(addresses) } else { Ok(()) }
    }

    fn connect_tunnel(&self, addresses: [[IpAddr; 2]; 2]) -> Result<(), Error> {
        let nodes = self.nodes.each_ref().map(Node::namespace);
        for (node, own) in nodes.into_iter().zip(addresses) {
            let below = TRUNK;
            node.add_vxlan(&Vxlan {
                name: VXLAN,
                below,
                local: own[0],
                id: 1,
                port: VXLAN_PORT,
                mtu: VXLAN_MTU,
            })?;
        }
        for (own, other) in [(0, 1), (1, 0)] {
            let node = nodes[own];
            let mac = nodes[other].mac(VXLAN)?;
            node.add_vxlan_peer(VXLAN, mac, addresses[other][0])?;
            for address in tunnel_addresses(own + 1) {
                node.add_address(VXLAN, address.into())?;
            }
            for (network, gateway) in pod_networks(other + 1).into_iter().zip(tunnel_addresses(other + 1)) {
                node.add_neighbour(VXLAN, gateway, mac)?;
                node.add_route(&Route::to(network).via(gateway).link(VXLAN).onlink())?;
            }
        }
        Ok(())
    }
}

/// Whether this kernel has VLANs.
fn has_vlans() -> bool {
    Namespace::new("vlan")
        .is_ok_and(|namespace| namespace.add_vlan(&Vlan { name: "lo.1", trunk: "lo", id: 1 }).is_ok())
}

const fn outside(host: u8) -> [IpAddr; 2] {
    let last = if host == 10 { 0x10 } else { host as u16 };
    [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)),
    ]
}

const fn between(host: u8) -> [IpAddr; 2] {
    let last = host as u16;
    [
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, host)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last)),
    ]
}

const fn pod_addresses(node: u8, host: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0xfd77, node as u16, 0, 0, 0, 0, 0, host as u16);
    [IpAddr::V4(Ipv4Addr::new(10, 1, node, host)), IpAddr::V6(v6)]
}

fn pod_networks(node: usize) -> [IpNet; 2] {
    let node = u8::try_from(node).unwrap_or(u8::MAX);
    pod_addresses(node, 0).map(|address| on_subnet(address).trunc())
}

/// flannel takes the network's first address over IPv4. Over IPv6 that is every router's.
fn tunnel_addresses(node: usize) -> [IpAddr; 2] {
    let node = u8::try_from(node).unwrap_or(u8::MAX);
    [pod_addresses(node, 0)[0], pod_addresses(node, 255)[1]]
}
