//! What a bridge leads to.

use super::{View, is_end, is_network, is_uplink};
use crate::links::{Device, Links};

impl View<'_> {
    /// Why the ends that are ports of a bridge lead to pods, if they do.
    pub(super) fn pods_on(&self, index: u32, bridge: &Device) -> Option<String> {
        let direct = self.routes(index).filter(|route| route.gateway.is_none());
        let nets = direct.map(|route| route.destination).chain(bridge.addresses.iter().map(|it| it.net));
        let mut reason = None;
        for net in nets {
            if is_network(&net) && self.network.holds(&net) {
                return Some(format!("which has pods' network {}", net.trunc()));
            }
            let pod = self.pod_in(&net);
            reason = reason.or_else(|| pod.map(|pod| format!("which has pod address {pod} in its network")));
        }
        reason
    }

    /// Why a bridge that is not the node's way out is left out: all it joins is on this node.
    pub(super) fn inner_bridge(&self, index: u32, bridge: &Device) -> Option<String> {
        if !has_only_ends(self.links, index) {
            return None;
        }
        Some(match self.pods_on(index, bridge) {
            Some(reason) => format!("a bridge {reason}: its ports are taken instead"),
            None => "a bridge of containers that are not pods".to_owned(),
        })
    }
}

fn has_only_ends(links: &Links, bridge: u32) -> bool {
    links.ports(bridge).all(|(_, port)| is_end(port) && !is_uplink(port))
}
