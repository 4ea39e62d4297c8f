//! The node's interfaces and addresses, followed by route netlink.
//!
//! Messages say that something changed; what there is then is read as a whole. So a message that
//! was lost under load costs nothing but the time until the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use seaway_common::{DEVICE_XDP_TRANSMIT, DeviceValue};
use tokio::sync::watch;

use crate::netdev;

/// How long messages are gathered before everything is read.
const GATHER: Duration = Duration::from_millis(20);

/// Longest prefixes of routes, by family, that may hold a range of Services. Those of pods and nodes are
/// longer, many, and change often.
const WIDE: [u8; 2] = [20, 112];

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Interfaces by index.
    pub devices: BTreeMap<u32, Device>,
    /// Every address of every interface.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses that packets without a better route leave from, the preferred ones first.
    pub routed: Vec<IpAddr>,
    /// Destinations of routes that may hold a range of Services.
    pub routes: BTreeSet<IpNet>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What the programs have to know of it.
    pub value: DeviceValue,
}

/// Why interfaces cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("cannot open route netlink")]
    Open(#[source] io::Error),
    /// A request failed.
    #[error("cannot list {0}")]
    List(&'static str, #[source] rtnetlink::Error),
}

/// Reads what there is, and follows it from then on for as long as the receiver lives. To be called
/// in a tokio runtime.
///
/// # Errors
/// [`Error`]
pub async fn follow() -> Result<watch::Receiver<Arc<Links>>, Error> {
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&GROUPS).map_err(Error::Open)?;
    tokio::spawn(connection);
    let (sender, receiver) = watch::channel(Arc::new(read(&handle).await?));
    tokio::spawn(async move {
        while messages.next().await.is_some() && !sender.is_closed() {
            tokio::time::sleep(GATHER).await;
            while let Some(Some(_)) = futures::FutureExt::now_or_never(messages.next()) {}
            match read(&handle).await {
                Ok(links) => {
                    sender.send_if_modified(|before| {
                        let changed = **before != links;
                        *before = Arc::new(links);
                        changed
                    });
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the node's interfaces could not be read; the next change tries again"
                    );
                }
            }
        }
    });
    Ok(receiver)
}

async fn read(handle: &Handle) -> Result<Links, Error> {
    let features = netdev::xdp_transmitters();
    let mut devices = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(|e| Error::List("interfaces", e))? {
        let index = link.header.index;
        let name = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        });
        // Kernels before 6.3 do not say what a driver can; of those, all but veth's transmit.
        let transmits = match &features {
            Some(able) => able.contains(&index),
            None => !is_veth(&link.attributes),
        };
        let flags = if transmits { DEVICE_XDP_TRANSMIT } else { 0 };
        let value = DeviceValue { flags, ..DeviceValue::default() };
        devices.insert(index, Device { name: name.unwrap_or_default(), value });
    }
    let mut by_device: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(|e| Error::List("addresses", e))? {
        let index = message.header.index;
        // kube-proxy's IPVS mode leaves it behind, with every cluster IP: they are not the node's.
        let ipvs = devices.get(&index).is_some_and(|device: &Device| device.name == "kube-ipvs0");
        if let Some(address) = address_of(&message).filter(|_| !ipvs) {
            by_device.entry(index).or_default().push(address);
        }
    }
    let (routed, routes) = routed(handle, &by_device).await?;
    Ok(Links { devices, addresses: by_device.into_values().flatten().collect(), routed, routes })
}

/// The address itself: on a point-to-point link `Address` is the peer's.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let plain = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    local.or(plain)
}

fn is_veth(attributes: &[LinkAttribute]) -> bool {
    let infos = attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| matches!(info, LinkInfo::Kind(kind) if kind.to_string() == "veth"))
}

/// The addresses of interfaces with a default route, then all others that are not only local; and the
/// destinations of wide routes.
async fn routed(
    handle: &Handle,
    by_device: &BTreeMap<u32, Vec<IpAddr>>,
) -> Result<(Vec<IpAddr>, BTreeSet<IpNet>), Error> {
    let (mut order, mut wide) = (Vec::new(), BTreeSet::new());
    let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    for request in [v4, v6] {
        let mut routes = handle.route().get(request).execute();
        while let Some(route) = routes.try_next().await.map_err(|e| Error::List("routes", e))? {
            wide.extend(
                destination(&route).filter(|to| to.prefix_len() <= WIDE[usize::from(to.addr().is_ipv6())]),
            );
            let gateway = route
                .attributes
                .iter()
                .any(|attribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)));
            if route.header.destination_prefix_length == 0 && gateway {
                order.extend(route.attributes.iter().filter_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                }));
            }
        }
    }
    order.extend(by_device.keys());
    let usable = |address: &&IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    let mut all: Vec<IpAddr> = Vec::new();
    for address in order.iter().filter_map(|index| by_device.get(index)).flatten().filter(usable) {
        if !all.contains(address) {
            all.push(*address);
        }
    }
    Ok((all, wide))
}

/// Where a unicast route of the main table leads.
fn destination(route: &RouteMessage) -> Option<IpNet> {
    let main = route.header.table == RouteHeader::RT_TABLE_MAIN && route.header.kind == RouteType::Unicast;
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::from(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::from(*address)),
        _ => None,
    });
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let net = IpNet::new(address.unwrap_or(any), route.header.destination_prefix_length).ok();
    net.filter(|_| main)
}
