//! The smallest useful network: a client, a node, pods behind the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{End, Error, Namespace, Node, NodeSettings, Pod, Route, Veth, node::on_subnet};

/// A client beside a node, and pods behind it. The client's default route is the node, so packets
/// to Service addresses arrive there.
///
/// ```text
/// client 192.0.2.10 2001:db8::10 (eth0)
///   | ext0 192.0.2.1/24 2001:db8::1/64
/// node
///   |- pod  one link each, named like the pod
///   | ext1 198.18.0.1/24 2001:db8:1::1/64
/// backbone 198.18.0.10 2001:db8:1::10 (eth0), if the settings ask for a second uplink
/// ```
#[derive(Debug)]
pub struct Topology {
    /// Where connections come from.
    pub client: Namespace,
    /// Where the agent runs.
    pub node: Node,
    /// Where they go to.
    pub pods: Vec<Pod>,
    /// The other end of the second uplink, if the node has one.
    pub backbone: Option<Namespace>,
}

impl Topology {
    /// The client's addresses.
    pub const CLIENT: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10)),
    ];
    /// The node's addresses on the client's side.
    pub const NODE: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
    /// The node's link to the client.
    pub const CLIENT_INTERFACE: &str = "ext0";

    /// The node's link to the backbone.
    pub const SECOND_INTERFACE: &str = "ext1";
    /// The node's addresses on the backbone's side.
    pub const SECOND_NODE: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
    ];
    /// The backbone's addresses.
    pub const BACKBONE: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, 10)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10)),
    ];

    /// Builds the network around a hostile node. `gateways`: as for [`Node::new`]. `pods`: name and
    /// addresses of each.
    ///
    /// # Errors
    /// As [`Node::new`] and [`Node::add_pod`].
    pub fn new(gateways: &[IpAddr], pods: &[(&str, &[IpAddr])]) -> Result<Self, Error> {
        Self::with(NodeSettings::hostile(), gateways, pods)
    }

    /// The same around a node with these settings.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(
        settings: NodeSettings,
        gateways: &[IpAddr],
        pods: &[(&str, &[IpAddr])],
    ) -> Result<Self, Error> {
        let offload = settings.offload;
        let has_backbone = settings.second_uplink;
        let node = Node::with("node", gateways, settings)?;
        let client = Namespace::new("client")?;
        let uplink = |name, addresses: [IpAddr; 2], far: &Namespace, far_addresses: [IpAddr; 2]| {
            let near = End::new(node.namespace(), name).addresses(addresses.map(on_subnet));
            Veth::new(near, End::new(far, "eth0").addresses(far_addresses.map(on_subnet)))
                .offload(offload)
                .connect()
        };
        uplink(Self::CLIENT_INTERFACE, Self::NODE, &client, Self::CLIENT)?;
        let backbone = has_backbone.then(|| Namespace::new("backbone")).transpose()?;
        if let Some(backbone) = &backbone {
            uplink(Self::SECOND_INTERFACE, Self::SECOND_NODE, backbone, Self::BACKBONE)?;
        }
        for gateway in Self::NODE {
            client.add_route(&Route::default_via(gateway))?;
        }
        let add = |(name, addresses): &(&str, &[IpAddr])| {
            let addresses: Vec<_> = addresses.iter().map(|&address| IpNet::from(address)).collect();
            node.add_pod(name, &addresses)
        };
        let pods = pods.iter().map(add).collect::<Result<_, _>>()?;
        Ok(Self { client, node, pods, backbone })
    }

    /// The node's links: the uplinks, the client's first, and the pods'.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let second = self.backbone.iter().map(|_| Self::SECOND_INTERFACE);
        let uplinks = std::iter::once(Self::CLIENT_INTERFACE).chain(second);
        let pods = self.pods.iter().map(|pod| pod.interface.as_str());
        uplinks.chain(pods).map(str::to_owned).collect()
    }
}
