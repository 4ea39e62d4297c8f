//! The node's interfaces, addresses and routes, followed by route netlink.
//!
//! Messages say that something changed; what there is then is read as a whole. So a message that
//! was lost under load costs nothing but the time until the next one.

mod device;
mod route;
mod rp_filter;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{Handle, RouteMessageBuilder};
use seaway_common::{
    Addr, Be16, DEVICE_BRIDGE_PORT, DEVICE_L3, DEVICE_STRICT_RP_FILTER, DEVICE_XDP_TRANSMIT, DeviceValue,
};
use tokio::sync::{mpsc, watch};

use crate::netdev;
use crate::netlink::{Received, Subscription};
use rp_filter::RpFilters;

pub use device::{Address, Device};
pub use route::{MAIN, Route};

/// Between two readings at least this long, and several times what a reading takes: the first of many messages
/// is acted upon at once, and a storm of them costs a part of the time.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_READINGS: u32 = 3;
/// How often the thread looks whether anybody still wants to know.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest prefixes of routes, by family, that may hold a range of Services. Those of pods and nodes are
/// longer, many, and change often.
const WIDE: [u8; 2] = [20, 112];

/// `RTNLGRP_*`: links, IPv4 and IPv6 addresses and routes, and the settings of IPv4.
const GROUPS: [u32; 6] = [1, 5, 7, 9, 11, 24];

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Interfaces by index.
    pub devices: BTreeMap<u32, Device>,
    /// Every address of every interface.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses that packets without a better route leave from, the preferred ones first.
    pub routed: Vec<IpAddr>,
    /// Unicast routes of all tables.
    pub routes: Vec<Route>,
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
    let subscription = Subscription::new(&GROUPS).map_err(Error::Open)?;
    let mut changes = changes(subscription).map_err(Error::Open)?;
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
    tokio::spawn(connection);
    let (sender, receiver) = watch::channel(Arc::new(read(&handle).await?));
    tokio::spawn(async move {
        while !sender.is_closed() {
            if changes.recv().await.is_none() {
                tracing::error!("interfaces are no longer followed; restart the agent");
                return;
            }
            let begun = Instant::now();
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
                    tracing::warn!(error, "cannot read the node's interfaces; the next change tries again");
                }
            }
            tokio::time::sleep(PAUSE.max(begun.elapsed() * PAUSE_READINGS)).await;
        }
    });
    Ok(receiver)
}

/// Something for every message, or for several at once: they are about what is read next. A thread waits for
/// them, for as long as the receiver lives.
fn changes(subscription: Subscription) -> io::Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    subscription.set_patience(Some(PATIENCE))?;
    let wait = move || {
        while !sender.is_closed() {
            match subscription.receive() {
                Ok(Received::Nothing) => {}
                // If there is one already, it has not been read yet.
                Ok(Received::Datagram(_) | Received::Lost) => _ = sender.try_send(()),
                Err(error) => return tracing::error!(%error, "route netlink"),
            }
        }
    };
    thread::Builder::new().name("links".into()).spawn(wait)?;
    Ok(receiver)
}

/// Reads what there is, once.
///
/// # Errors
/// [`Error::List`]
async fn read(handle: &Handle) -> Result<Links, Error> {
    let mut links = Links::default();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await.map_err(|e| Error::List("interfaces", e))? {
        links.devices.insert(message.header.index, Device::read(&message));
    }
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(|e| Error::List("addresses", e))? {
        let Some(address) = Address::read(&message) else { continue };
        let device = links.devices.get_mut(&message.header.index);
        // kube-proxy's IPVS mode leaves the device behind, with every cluster IP: they are not the node's.
        if device.as_ref().is_some_and(|device| device.name == "kube-ipvs0") {
            continue;
        }
        links.addresses.insert(address.net.addr());
        if let Some(device) = device {
            device.addresses.push(address);
        }
    }
    let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    for request in [v4, v6] {
        let mut messages = handle.route().get(request).execute();
        while let Some(message) = messages.try_next().await.map_err(|e| Error::List("routes", e))? {
            links.routes.extend(Route::read(&message));
        }
    }
    links.routed = links.in_order_of_preference();
    links.describe();
    Ok(links)
}

impl Links {
    /// The device of this name.
    pub fn named(&self, name: &str) -> Option<(u32, &Device)> {
        self.devices.iter().find(|(_, device)| device.name == name).map(|(index, device)| (*index, device))
    }

    /// The ports of a bridge, or the members of a bond.
    pub fn ports(&self, master: u32) -> impl Iterator<Item = (u32, &Device)> {
        let belongs = move |(_, device): &(&u32, &Device)| device.master == Some(master);
        self.devices.iter().filter(belongs).map(|(index, device)| (*index, device))
    }

    /// Destinations of routes of the main table that may hold a range of Services.
    pub fn wide_routes(&self) -> BTreeSet<IpNet> {
        let wide = |net: &IpNet| net.prefix_len() <= WIDE[usize::from(net.addr().is_ipv6())];
        let main = self.routes.iter().filter(|route| route.table == MAIN);
        main.map(|route| route.destination).filter(wide).collect()
    }

    /// The addresses of interfaces with a default route, then all others that are not only local.
    fn in_order_of_preference(&self) -> Vec<IpAddr> {
        let by_router = |route: &&Route| route.is_default() && route.gateway.is_some();
        let order = self.routes.iter().filter(by_router).map(|route| &route.device);
        let usable = |address: &IpAddr| match address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        };
        let mut all: Vec<IpAddr> = Vec::new();
        for device in order.chain(self.devices.keys()).filter_map(|index| self.devices.get(index)) {
            for address in device.ips().filter(usable) {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
        }
        all
    }

    /// Works out what the programs have to know of each device.
    fn describe(&mut self) {
        let features = netdev::xdp_transmitters();
        let filters = RpFilters::read().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read rp_filter; packets are taken for not filtered");
            RpFilters::default()
        });
        let values = self.devices.iter().map(|(index, device)| {
            // Kernels before 6.3 do not say what a driver can; of those, all but veth's transmit.
            let transmits = match &features {
                Some(able) => able.contains(index),
                None => device.kind != "veth",
            };
            let flag = |on: bool, bit: u32| if on { bit } else { 0 };
            let flags = flag(transmits, DEVICE_XDP_TRANSMIT)
                | flag(filters.strict(*index), DEVICE_STRICT_RP_FILTER)
                | flag(!device.ethernet, DEVICE_L3);
            self.value(*index, device, flags)
        });
        let values: Vec<DeviceValue> = values.collect();
        for (device, value) in self.devices.values_mut().zip(values) {
            device.value = value;
        }
    }

    fn value(&self, index: u32, device: &Device, flags: u32) -> DeviceValue {
        let bridge = device.master.and_then(|master| self.devices.get(&master));
        let bridge = bridge.filter(|master| master.kind == "bridge");
        let source = |v6: bool| -> Addr {
            let own = source::of(index, device, &self.routes, v6);
            let primary = || self.routed.iter().copied().find(|address| address.is_ipv6() == v6);
            own.or_else(primary).map(Addr::from).unwrap_or_default()
        };
        DeviceValue {
            flags: flags | if bridge.is_some() { DEVICE_BRIDGE_PORT } else { 0 },
            bridge: bridge.map_or_else(Default::default, |bridge| halves(bridge.link_address)),
            source_v4: source(false),
            source_v6: source(true),
            ..DeviceValue::default()
        }
    }
}

/// A hardware address as the programs have it.
fn halves([a, b, c, d, e, f]: [u8; 6]) -> [Be16; 3] {
    bytemuck::cast([[a, b], [c, d], [e, f]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port, its bridge, and what the programs are told of the port.
    #[test]
    fn a_port_of_a_bridge_is_told_with_the_address_of_the_bridge() {
        let bridge = |kind: &str| Device {
            kind: kind.into(),
            link_address: [2, 0, 0, 0, 0, 7],
            ethernet: true,
            ..Device::default()
        };
        let port = Device { master: Some(1), ethernet: true, ..Device::default() };
        let value = |kind: &str| {
            let links = Links { devices: [(1, bridge(kind)), (2, port.clone())].into(), ..Links::default() };
            links.value(2, &port, 0)
        };
        assert_eq!(value("bridge").flags, DEVICE_BRIDGE_PORT);
        assert_eq!(bytemuck::bytes_of(&value("bridge").bridge), [2, 0, 0, 0, 0, 7]);
        assert_eq!(value("bond").flags, 0);
    }
}
