//! One network device, as route netlink describes it.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use seaway_common::DeviceValue;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The kind that the kernel gives it: `veth`, `bridge`, `vxlan`; empty for hardware.
    pub kind: String,
    /// Index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// Index of the device below it, or of the other end of a veth, if that is in this namespace.
    pub parent: Option<u32>,
    /// Its other end or the device below it is in another namespace.
    pub foreign_peer: bool,
    /// Its hardware address; zero if it has none of six bytes.
    pub link_address: [u8; 6],
    /// Its packets begin with an Ethernet header.
    pub ethernet: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// It is administratively up.
    pub up: bool,
    /// The longest packet that it takes.
    pub mtu: u32,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// What the programs have to know of it.
    pub value: DeviceValue,
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address, with the length of its network's prefix.
    pub net: IpNet,
    /// The kernel would take it as the source of new packets.
    pub source: bool,
}

impl Device {
    /// From a message, with neither addresses nor the programs' value.
    pub(super) fn read(message: &LinkMessage) -> Self {
        let layer = message.header.link_layer_type;
        let mut device = Self {
            ethernet: matches!(layer, LinkLayerType::Ether | LinkLayerType::Loopback),
            loopback: layer == LinkLayerType::Loopback,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        let mut parent = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => device.name.clone_from(name),
                LinkAttribute::Controller(index) => device.master = Some(*index).filter(|index| *index != 0),
                LinkAttribute::Link(index) => parent = Some(*index).filter(|index| *index != 0),
                LinkAttribute::LinkNetNsId(_) => device.foreign_peer = true,
                LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
                LinkAttribute::Address(bytes) => {
                    device.link_address = bytes.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::LinkInfo(infos) => {
                    let kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    device.kind = kind.unwrap_or_default();
                }
                _ => {}
            }
        }
        device.parent = parent.filter(|_| !device.foreign_peer);
        device
    }

    /// Its addresses without their networks.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|address| address.net.addr())
    }
}

impl Address {
    /// From a message. On a point-to-point link `Address` is the peer's.
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut plain) = (None, None);
        let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => plain = Some(*address),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let net = IpNet::new(local.or(plain)?, message.header.prefix_len).ok()?;
        // What IPv4 calls secondary IPv6 calls temporary; neither is what a node is known by.
        let unfit = AddressFlags::Secondary
            | AddressFlags::Deprecated
            | AddressFlags::Tentative
            | AddressFlags::Dadfailed;
        let global = message.header.scope == AddressScope::Universe;
        Some(Self { net, source: global && !flags.intersects(unfit) })
    }
}
