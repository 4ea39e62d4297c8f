//! One way of the routing tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia,
};

/// A unicast route; one with several next hops is several of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its table.
    pub table: u32,
    /// Where it leads.
    pub destination: IpNet,
    /// Index of the device that packets leave by.
    pub device: u32,
    /// The router that they are given to, if any.
    pub gateway: Option<IpAddr>,
    /// The source of packets that have none yet.
    pub source: Option<IpAddr>,
}

/// The table that packets without a rule of their own are looked up in.
pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

impl Route {
    /// Every next hop of a message's route, unless it is one to nowhere or to link-local addresses.
    pub(super) fn read(message: &RouteMessage) -> Vec<Self> {
        let (header, attributes) = (&message.header, &message.attributes);
        let destination = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip(address),
            _ => None,
        });
        let everything = match header.address_family {
            AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let length = header.destination_prefix_length;
        let Ok(destination) = IpNet::new(destination.unwrap_or(everything), length) else {
            return Vec::new();
        };
        if header.kind != RouteType::Unicast || is_link_local(&destination) {
            return Vec::new();
        }
        let mut route =
            Self { table: header.table.into(), destination, device: 0, gateway: None, source: None };
        let mut hops: &[RouteNextHop] = &[];
        for attribute in attributes {
            match attribute {
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                RouteAttribute::MultiPath(all) => hops = all,
                _ => {}
            }
        }
        if hops.is_empty() {
            let device = attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            let gateway = gateway(attributes);
            return device.map(|device| Self { device, gateway, ..route }).into_iter().collect();
        }
        let hop = |hop: &RouteNextHop| Self {
            device: hop.interface_index,
            gateway: gateway(&hop.attributes),
            ..route
        };
        hops.iter().map(hop).collect()
    }

    /// Whether it leads everywhere.
    pub fn is_default(&self) -> bool {
        self.destination.prefix_len() == 0
    }

    /// Whether it leads to one address on the device itself.
    pub fn is_host(&self) -> bool {
        self.gateway.is_none() && self.destination.prefix_len() == self.destination.max_prefix_len()
    }
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn is_link_local(destination: &IpNet) -> bool {
    match destination.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}
