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
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo};
use rtnetlink::packet_route::route::RouteAttribute;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use seaway_common::{DEVICE_XDP_TRANSMIT, DeviceValue};
use tokio::sync::watch;

use crate::netdev;

/// How long messages are gathered before everything is read.
const GATHER: Duration = Duration::from_millis(20);

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
        if let Some(address) = address_of(&message) {
            by_device.entry(message.header.index).or_default().push(address);
        }
    }
    let routed = routed(handle, &by_device).await?;
    Ok(Links { devices, addresses: by_device.into_values().flatten().collect(), routed })
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

/// The addresses of interfaces with a default route, then all others that are not only local.
async fn routed(handle: &Handle, by_device: &BTreeMap<u32, Vec<IpAddr>>) -> Result<Vec<IpAddr>, Error> {
    let mut order = Vec::new();
    let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    for request in [v4, v6] {
        let mut routes = handle.route().get(request).execute();
        while let Some(route) = routes.try_next().await.map_err(|e| Error::List("routes", e))? {
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
    Ok(all)
}
