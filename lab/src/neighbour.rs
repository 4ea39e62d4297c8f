//! Neighbours that need not be asked for.

use std::net::IpAddr;

use rtnetlink::packet_route::neighbour::NeighbourState;

use crate::{Error, Namespace, netlink};

impl Namespace {
    /// Says once and for all which hardware address an address on a link has.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn add_neighbour(&self, link: &str, address: IpAddr, mac: [u8; 6]) -> Result<(), Error> {
        netlink::with(self, &format!("add the neighbour {address}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            handle.neighbours().add(index, address).link_layer_address(&mac).execute().await
        })
    }

    /// Says which hardware address an address on a link has, in place of what was known: for ever, or,
    /// if `stale`, until the kernel uses it and asks.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn replace_neighbour(
        &self,
        link: &str,
        address: IpAddr,
        mac: [u8; 6],
        stale: bool,
    ) -> Result<(), Error> {
        let state = if stale { NeighbourState::Stale } else { NeighbourState::Permanent };
        netlink::with(self, &format!("replace the neighbour {address}"), async |handle| {
            let index = netlink::link_index(&handle, link).await?;
            let entry = handle.neighbours().add(index, address).link_layer_address(&mac).state(state);
            entry.replace().execute().await
        })
    }
}
