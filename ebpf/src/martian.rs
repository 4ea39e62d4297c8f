//! Addresses that no packet may come from (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5): what Linux refuses
//! as martian is refused here too, since the programs' own transmission passes its checks by.
//!
//! Mapped addresses over IPv6 are refused where headers are read, for every packet.

use seaway_common::{ADDRESS_CLUSTER_IP, Addr, FlowKey};

use crate::packet::Route;
use crate::{Packet, Tables};

/// Whether the source of a packet can be a service's client.
#[inline(never)]
pub(crate) fn is_client<T: Tables>(key: &FlowKey, tables: &T) -> bool {
    key.src.is_unicast()
        && key.src != key.dst
        // Routers forward nothing from there, and the endpoint is behind one.
        && !key.src.is_v6_link_local()
        // Nobody has a cluster IP: a reply would be a new request.
        && tables.address(&key.src) & ADDRESS_CLUSTER_IP == 0
}

/// Whether packets to `dst` go to no single other host: it is one of this node's own addresses, or the
/// broadcast address of a network that the node is in.
#[inline(never)]
pub(crate) fn ends_here<P: Packet, T: Tables>(
    packet: &mut P,
    src: &Addr,
    dst: &Addr,
    proto: u8,
    tables: &T,
) -> bool {
    // Kept there rather than on the stack, which has no room for them.
    let ends = tables.keep_plan(|plan| {
        plan.route = Route { src: *src, dst: *dst, proto, wants_source: false };
        packet.next_hop(&plan.route, &mut plan.way).is_ok() && plan.way.ifindex == 0
    });
    ends.unwrap_or(false)
}
