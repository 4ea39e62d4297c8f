//! Links on top of others: VXLAN between nodes, a VLAN on a trunk.

use std::net::IpAddr;

use rtnetlink::{LinkUnspec, LinkVlan, LinkVxlan, packet_route::neighbour::NeighbourFlags};

use crate::{Error, Namespace, netlink};

/// A VXLAN link without learning: peers are told one by one, as flannel does.
#[derive(Debug, Clone)]
pub struct Vxlan<'a> {
    /// The link's name.
    pub name: &'a str,
    /// The link below it.
    pub below: &'a str,
    /// The own address there; IPv4.
    pub local: IpAddr,
    /// The network identifier.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// Bytes of a packet inside, network header included.
    pub mtu: u32,
}

/// A VLAN on top of a link.
#[derive(Debug, Clone)]
pub struct Vlan<'a> {
    /// The link's name.
    pub name: &'a str,
    /// The link below it, which carries tagged frames.
    pub trunk: &'a str,
    /// The VLAN's number.
    pub id: u16,
}

impl Namespace {
    /// Makes a VXLAN link and takes it up.
    ///
    /// # Errors
    /// When the kernel has no VXLAN, or the link below does not exist.
    pub fn add_vxlan(&self, vxlan: &Vxlan<'_>) -> Result<(), Error> {
        netlink::with(self, &format!("make the VXLAN link {}", vxlan.name), async |handle| {
            let below = netlink::link_index(&handle, vxlan.below).await?;
            let link = LinkVxlan::new(vxlan.name, vxlan.id).dev(below).port(vxlan.port).learning(false);
            let link = match vxlan.local {
                IpAddr::V4(own) => link.local(own),
                IpAddr::V6(own) => link.local6(own),
            };
            handle.link().add(link.mtu(vxlan.mtu).build()).execute().await?;
            handle.link().set(LinkUnspec::new_with_name(vxlan.name).up().build()).execute().await
        })
    }

    /// Says behind which node a hardware address of a VXLAN link is.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn add_vxlan_peer(&self, link: &str, mac: [u8; 6], node: IpAddr) -> Result<(), Error> {
        netlink::with(self, &format!("add the peer {node} to {link}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            let entry = handle.neighbours().add_bridge(index, &mac).flags(NeighbourFlags::Own);
            entry.destination(node).execute().await
        })
    }

    /// Makes a VLAN link and takes it up.
    ///
    /// # Errors
    /// When the kernel has no VLANs (`CONFIG_VLAN_8021Q`), or the trunk does not exist.
    pub fn add_vlan(&self, vlan: &Vlan<'_>) -> Result<(), Error> {
        netlink::with(self, &format!("make the VLAN link {}", vlan.name), async |handle| {
            let trunk = netlink::link_index(&handle, vlan.trunk).await?;
            handle.link().add(LinkVlan::new(vlan.name, trunk, vlan.id).up().build()).execute().await
        })
    }
}
