//! The smallest useful network: a client, a node, pods behind the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{End, Error, Namespace, Node, Pod, Route, Veth};

/// A client beside a node, and pods behind it. The client's default route is the node, so packets
/// to Service addresses arrive there.
///
/// ```text
/// client 192.0.2.10 2001:db8::10 (eth0)
///   | ext0 192.0.2.1/24 2001:db8::1/64
/// node
///   |- pod  one link each, named like the pod
/// ```
#[derive(Debug)]
pub struct Topology {
    /// Where connections come from.
    pub client: Namespace,
    /// Where the agent runs.
    pub node: Node,
    /// Where they go to.
    pub pods: Vec<Pod>,
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

    /// Builds the network. `gateways`: as for [`Node::new`]. `pods`: name and addresses of each.
    ///
    /// # Errors
    /// As [`Namespace::new`] and [`Node::add_pod`].
    pub fn new(gateways: &[IpAddr], pods: &[(&str, &[IpAddr])]) -> Result<Self, Error> {
        let node = Node::new("node", gateways)?;
        let client = Namespace::new("client")?;
        let outside = End::new(node.namespace(), Self::CLIENT_INTERFACE).addresses(Self::NODE.map(on_subnet));
        Veth::new(outside, End::new(&client, "eth0").addresses(Self::CLIENT.map(on_subnet))).connect()?;
        for gateway in Self::NODE {
            client.add_route(&Route::default_via(gateway))?;
        }
        let add = |(name, addresses): &(&str, &[IpAddr])| {
            let addresses: Vec<_> = addresses.iter().map(|&address| IpNet::from(address)).collect();
            node.add_pod(name, &addresses)
        };
        let pods = pods.iter().map(add).collect::<Result<_, _>>()?;
        Ok(Self { client, node, pods })
    }

    /// The node's links, the client's first.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let pods = self.pods.iter().map(|pod| pod.interface.clone());
        std::iter::once(Self::CLIENT_INTERFACE.to_owned()).chain(pods).collect()
    }
}

fn on_subnet(address: IpAddr) -> IpNet {
    IpNet::new_assert(address, if address.is_ipv4() { 24 } else { 64 })
}
