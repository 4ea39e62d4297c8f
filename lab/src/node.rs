//! A node that forwards packets, and pods routed behind it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::{End, Error, Namespace, Offload, Route, Veth};

/// The name of every pod's own link.
const POD_LINK: &str = "eth0";
/// Where a node sends what goes to a pod's own IPv6 network.
const POD_LINK_LOCAL: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2), 64));

/// A namespace with forwarding on, and the address its pods use as their gateway.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    gateways: Vec<IpAddr>,
    offload: Offload,
}

/// A pod: a namespace behind a veth of its own, reached by a route to its addresses alone.
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
    /// A node whose pods have `gateways` as their gateway, one address of each family in use.
    ///
    /// # Errors
    /// As [`Namespace::new`].
    pub fn new(name: &str, gateways: &[IpAddr]) -> Result<Self, Error> {
        let namespace = Namespace::new(name)?;
        namespace.set_forwarding()?;
        Ok(Self { namespace, gateways: gateways.to_vec(), offload: Offload::default() })
    }

    /// Says what the links of pods added from now on do with checksums.
    pub fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }

    /// The node's namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Adds a pod. `name` (at most 15 bytes) is its name and that of the link on the node.
    /// An address with a full prefix is put on the pod's link; of a shorter one the pod owns the
    /// whole network.
    ///
    /// # Errors
    /// When an address has a family without gateway, or the name is taken.
    pub fn add_pod(&self, name: &str, addresses: &[IpNet]) -> Result<Pod, Error> {
        let pod = Namespace::new(name)?;
        let is_single = |address: &IpNet| address.prefix_len() == address.max_prefix_len();
        let owns_network_v6 = addresses.iter().any(|address| address.addr().is_ipv6() && !is_single(address));
        if owns_network_v6 {
            // IPv4 lets a program bind to an address that is only local by a route; IPv6 asks for this.
            pod.set("net/ipv6/ip_nonlocal_bind", "1")?;
        }
        let gateways = self.gateways.iter().map(|&address| IpNet::from(address));
        let near = End::new(&self.namespace, name).addresses(gateways);
        let singles = addresses.iter().copied().filter(is_single);
        let far = End::new(&pod, POD_LINK).addresses(singles);
        let far = if owns_network_v6 { far.address(POD_LINK_LOCAL) } else { far };
        Veth::new(near, far).offload(self.offload).connect()?;
        for &gateway in &self.gateways {
            pod.add_route(&Route::to(gateway).link(POD_LINK))?;
            pod.add_route(&Route::default_via(gateway).link(POD_LINK).onlink())?;
        }
        for address in addresses {
            let route = Route::to(address.trunc()).link(name);
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
        Ok(Pod { namespace: pod, interface: name.into(), addresses: addresses.to_vec() })
    }
}
