//! Links of a namespace: up, down, gone, addresses, a bridge.

use ipnet::IpNet;
use rtnetlink::{
    Handle, LinkBridge, LinkUnspec,
    packet_route::{address::AddressHeaderFlags, link::LinkMessage},
};

use crate::{Error, Namespace, ethtool, netlink};

impl Namespace {
    /// Takes a link up.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn set_up(&self, link: &str) -> Result<(), Error> {
        netlink::with(self, &format!("take {link} up"), async |handle| {
            change(&handle, LinkUnspec::new_with_name(link).up().build()).await
        })
    }

    /// Takes a link down.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn set_down(&self, link: &str) -> Result<(), Error> {
        netlink::with(self, &format!("take {link} down"), async |handle| {
            change(&handle, LinkUnspec::new_with_name(link).down().build()).await
        })
    }

    /// Sets how long packets may be that leave by a link, network header included.
    ///
    /// # Errors
    /// When there is no such link or it takes no such length.
    pub fn set_mtu(&self, link: &str, mtu: u32) -> Result<(), Error> {
        netlink::with(self, &format!("set the MTU of {link} to {mtu}"), async |handle| {
            change(&handle, LinkUnspec::new_with_name(link).mtu(mtu).build()).await
        })
    }

    /// Deletes a link; of a veth pair both ends go.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn delete_link(&self, link: &str) -> Result<(), Error> {
        netlink::with(self, &format!("delete {link}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            handle.link().del(index).execute().await
        })
    }

    /// Adds an address to a link, usable at once (no duplicate address detection).
    ///
    /// # Errors
    /// When there is no such link or it has the address already.
    pub fn add_address(&self, link: &str, address: IpNet) -> Result<(), Error> {
        netlink::with(self, &format!("add {address} to {link}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            let mut request = handle.address().add(index, address.addr(), address.prefix_len());
            request.message_mut().header.flags.insert(AddressHeaderFlags::Nodad);
            request.execute().await
        })
    }

    /// Makes a bridge, up, with `ports` as its ports.
    ///
    /// # Errors
    /// When the kernel has no bridges or a port does not exist.
    pub fn add_bridge(&self, name: &str, ports: &[&str]) -> Result<(), Error> {
        netlink::with(self, &format!("make bridge {name} of {}", ports.join(", ")), async |handle| {
            handle.link().add(LinkBridge::new(name).build()).execute().await?;
            let bridge = netlink::link_index(&handle, name).await?;
            for port in ports {
                let message = LinkUnspec::new_with_name(port).controller(bridge).up().build();
                change(&handle, message).await?;
            }
            Ok(())
        })
    }

    /// The offloads that are on for a link, by the names `ethtool -k` shows for the kernel's own
    /// features, for instance `tx-checksum-ip-generic`.
    ///
    /// # Errors
    /// When there is no such link or the kernel has no ethtool netlink (Linux 5.6).
    pub fn features(&self, link: &str) -> Result<std::collections::BTreeSet<String>, Error> {
        self.run(|| ethtool::active_features(link))?
            .map_err(Error::system(format!("read the offloads of {link} in namespace {}", self.name())))
    }

    /// Switches offloads of a link; names as in [`features`](Self::features).
    ///
    /// # Errors
    /// When there is no such link or feature.
    pub fn set_features(&self, link: &str, features: &[(&str, bool)]) -> Result<(), Error> {
        self.run(|| ethtool::set_features(link, features))?
            .map_err(Error::system(format!("set the offloads of {link} in namespace {}", self.name())))
    }
}

async fn change(handle: &Handle, message: LinkMessage) -> Result<(), rtnetlink::Error> {
    handle.link().set(message).execute().await
}
