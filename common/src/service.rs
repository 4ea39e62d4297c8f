//! Services: a virtual address, and what it leads to.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16, Slice};

/// One frontend. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct ServiceKey {
    /// Virtual address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Transport protocol number, see [`crate::proto`].
    pub proto: u8,
    /// Who may use the entry; 0 is everyone.
    pub scope: u8,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<ServiceKey>() == 24);

/// On a cluster IP: traffic uses the local slice only (`internalTrafficPolicy: Local`).
pub const SERVICE_INTERNAL_LOCAL: u32 = 1 << 0;
/// On an external frontend: traffic from outside the cluster uses the local slice only and keeps
/// its source (`externalTrafficPolicy: Local`).
pub const SERVICE_EXTERNAL_LOCAL: u32 = 1 << 1;
/// The frontend is external: a node port, a load balancer or external address, or a host port.
pub const SERVICE_EXTERNAL: u32 = 1 << 2;
/// Only clients in the service's `SOURCE_RANGES` may use this frontend.
pub const SERVICE_GUARDED: u32 = 1 << 3;
/// The frontend is a loopback address: sockets of the node itself may use it, packets may not.
pub const SERVICE_LOOPBACK: u32 = 1 << 4;
/// Endpoints on other nodes get packets encapsulated and answer the client themselves.
pub const SERVICE_DSR: u32 = 1 << 5;
/// A candidate of some list runs on this node, so a client may be its own endpoint.
pub const SERVICE_NEAR: u32 = 1 << 6;
/// Some endpoint could take traffic somewhere: an empty list then drops instead of refusing.
pub const SERVICE_SOMEWHERE: u32 = 1 << 7;

/// The endpoints are of the other address family.
pub const SERVICE_CROSS: u32 = 1 << 16;
/// The local slice leads to a server of this node's agent, which every client gets as long as
/// `STAND_IN` says; after that, the cluster slice is everybody's.
pub const SERVICE_STAND_IN: u32 = 1 << 17;

/// With [`SERVICE_LOOPBACK`]: the frontend stands for every address of 127.0.0.0/8.
pub const SERVICE_LOOPBACK_NET: u32 = 1 << 18;
/// The address comes from `status.loadBalancer`: it gives way to one that the API server allocated.
pub const SERVICE_BALANCER: u32 = 1 << 19;
/// The address comes from `spec.externalIPs`: it gives way to every other.
pub const SERVICE_NAMED: u32 = 1 << 20;

/// In `ADDRESSES`: a cluster IP, whose other ports are refused.
pub const ADDRESS_CLUSTER_IP: u32 = 1 << 0;
/// In `ADDRESSES`: a load balancer's or an external address that this node serves.
pub const ADDRESS_EXTERNAL: u32 = 1 << 1;
/// In `ADDRESSES`: one of the node's own addresses, so that its stack answers for every port that no Service
/// has. Alone: a cluster IP that an interface of this node has too (NodeLocal DNS); nothing of it is ours.
pub const ADDRESS_OWN: u32 = 1 << 2;

/// Position of the [`Algorithm`] for clients inside the cluster in a service's flags; 4 bits.
const INSIDE_SHIFT: u32 = 8;
/// Position of the one for clients outside.
const OUTSIDE_SHIFT: u32 = 12;
const ALGORITHM_MASK: u32 = 0xf;

/// How an endpoint is picked from a list.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Each with the same chance.
    #[default]
    Random = 0,
    /// By the hash of addresses and ports, in the consistent table.
    Maglev = 1,
    /// One after the other.
    RoundRobin = 2,
    /// The one with the fewest open connections.
    LeastConnections = 3,
    /// By the hash of the client's address, in the consistent table.
    SourceHash = 4,
}

impl Algorithm {
    /// The bits of a service's flags that say so for clients inside and outside of the cluster.
    pub const fn flags(inside: Self, outside: Self) -> u32 {
        (inside as u32) << INSIDE_SHIFT | (outside as u32) << OUTSIDE_SHIFT
    }

    /// Whether it picks from the consistent table.
    pub const fn needs_table(self) -> bool {
        matches!(self, Self::Maglev | Self::SourceHash)
    }

    /// From the number in a service's flags; unknown ones are random.
    #[inline(always)]
    const fn of(number: u32) -> Self {
        match number & ALGORITHM_MASK {
            1 => Self::Maglev,
            2 => Self::RoundRobin,
            3 => Self::LeastConnections,
            4 => Self::SourceHash,
            _ => Self::Random,
        }
    }
}

/// What a frontend leads to. Replaced as a whole, so one map update switches a frontend. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceValue {
    /// Id of the service port; all frontends of one service port share it.
    pub service: u32,
    /// `SERVICE_*` bits.
    pub flags: u32,
    /// Candidates for traffic under policy `Cluster`.
    pub cluster: Slice,
    /// Candidates for traffic under policy `Local`.
    pub local: Slice,
    /// Lookup table of the consistent hash over `cluster`; empty where none is used.
    pub cluster_table: Slice,
    /// Lookup table of the consistent hash over `local`; empty where none is used.
    pub local_table: Slice,
    /// `sessionAffinity: ClientIP` timeout in seconds; 0 is no affinity.
    pub affinity_s: u32,
    /// Changes with every write of the entry: a choice made under the same generation still holds.
    pub generation: u32,
}

const _: () = assert!(size_of::<ServiceValue>() == 48);

impl ServiceValue {
    /// Whether a flag is set.
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether a client chooses from the local slice, a server that stands in aside. Clients inside the
    /// cluster that use an external frontend choose from the cluster's, as if they had left and come back.
    #[inline(always)]
    pub const fn uses_local(&self, inside: bool) -> bool {
        if self.has(SERVICE_EXTERNAL) {
            self.has(SERVICE_EXTERNAL_LOCAL) && !inside
        } else {
            self.has(SERVICE_INTERNAL_LOCAL)
        }
    }

    /// How an endpoint is picked for a client inside or outside of the cluster.
    #[inline(always)]
    pub const fn algorithm(&self, inside: bool) -> Algorithm {
        Algorithm::of(self.flags >> if inside { INSIDE_SHIFT } else { OUTSIDE_SHIFT })
    }
}

/// Longest text of [`NameValue`]: namespace (63), name (63), port name (15), and separators.
pub const NAME_LEN: usize = 156;

/// The name of a service port, `namespace/name:port`, kept beside the maps for people.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct NameValue {
    /// Bytes of `text` in use.
    pub len: u16,
    /// Transport protocol number of the service port.
    pub proto: u8,
    /// 4 or 6.
    pub family: u8,
    /// UTF-8, cut at [`NAME_LEN`] bytes.
    pub text: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<NameValue>() == 160);

impl NameValue {
    /// Keeps `name`, cut at a character boundary if it is too long; `family` is 4 or 6.
    pub fn new(name: &str, proto: u8, family: u8) -> Self {
        let cut = name.floor_char_boundary(NAME_LEN);
        let mut text = [0; NAME_LEN];
        text[..cut].copy_from_slice(&name.as_bytes()[..cut]);
        Self { len: cut as u16, proto, family, text }
    }

    /// The name; empty if the bytes are not text.
    pub fn as_str(&self) -> &str {
        let len = usize::from(self.len).min(NAME_LEN);
        core::str::from_utf8(&self.text[..len]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn names_round_trip_and_long_ones_are_cut() {
        assert_eq!(NameValue::new("default/nginx-svc:http", 6, 4).as_str(), "default/nginx-svc:http");
        let long: std::string::String = core::iter::repeat_n('é', 100).collect();
        assert_eq!(NameValue::new(&long, 6, 4).as_str().len(), NAME_LEN);
    }
}
