//! Links of a namespace: up, down, gone, addresses, a bridge.

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkUnspec,
    packet_route::{
        address::AddressHeaderFlags,
        link::{LinkAttribute, LinkMessage},
    },
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

    /// Makes a link a port of a bridge. With `hairpin`, frames may leave by the port they came in by,
    /// which a pod needs that talks to itself.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn add_port(&self, bridge: &str, link: &str, hairpin: bool) -> Result<(), Error> {
        netlink::with(self, &format!("make {link} a port of {bridge}"), async |handle| {
            let bridge = netlink::link_index(&handle, bridge).await?;
            let port = netlink::link_index(&handle, link).await?;
            change(&handle, LinkUnspec::new_with_name(link).controller(bridge).up().build()).await?;
            // Attributes of a port are set by the bridge's own kind of message.
            let port = LinkBridgePort::new(port).hairpin(hairpin).build();
            handle.link().set_port(port).execute().await
        })
    }

    /// Gives a link another name; it has to be down.
    ///
    /// # Errors
    /// When there is no such link, it is up, or the name is taken.
    pub fn rename_link(&self, link: &str, name: &str) -> Result<(), Error> {
        netlink::with(self, &format!("rename {link} to {name}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            change(&handle, LinkUnspec::new_with_index(index).name(name).build()).await
        })
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// When the link does not have it.
    pub fn remove_address(&self, link: &str, address: IpNet) -> Result<(), Error> {
        netlink::with(self, &format!("remove {address} from {link}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            let mut request = handle.address().add(index, address.addr(), address.prefix_len());
            let message = request.message_mut().clone();
            handle.address().del(message).execute().await
        })
    }

    /// The hardware address of a link.
    ///
    /// # Errors
    /// When there is no such link or it has none.
    pub fn mac(&self, link: &str) -> Result<[u8; 6], Error> {
        netlink::with(self, &format!("read the hardware address of {link}"), async |handle| {
            let found = handle.link().get().match_name(link.to_owned()).execute().try_next().await?;
            let mac =
                found.into_iter().flat_map(|link| link.attributes).find_map(|attribute| match attribute {
                    LinkAttribute::Address(bytes) => bytes.try_into().ok(),
                    _ => None,
                });
            mac.ok_or(rtnetlink::Error::RequestFailed)
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
