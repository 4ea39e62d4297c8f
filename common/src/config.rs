//! What the programs are told about this node and its cluster.

use bytemuck::{Pod, Zeroable};

use crate::Addr;

/// Prefixes of each kind that the configuration holds.
pub const PREFIXES_MAX: usize = 8;

/// Every client of a cluster IP is masqueraded (`--masquerade-all`).
pub const CONFIG_MASQUERADE_ALL: u32 = 1 << 0;
/// Packets of this node's pods pass a program of ours, so their sockets may leave a choice to it.
pub const CONFIG_POD_PATH: u32 = 1 << 1;

/// Some external address leads to endpoints of the other family (`--nat46x64`).
pub const CONFIG_CROSS: u32 = 1 << 2;

/// Connections of another proxy may still be in the kernel's connection tracking: TCP without a flow is
/// passed to the stack, also where no stack owns the address.
pub const CONFIG_KERNEL_FLOWS: u32 = 1 << 3;

/// The node has a route for the IPv4 addresses of Services: its own packets to them leave by an interface,
/// where they are translated or refused.
pub const CONFIG_ROUTED_V4: u32 = 1 << 4;
/// The same over IPv6.
pub const CONFIG_ROUTED_V6: u32 = 1 << 5;

/// A range of addresses. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Prefix {
    /// Its first address.
    pub net: Addr,
    /// The bits that count; those of an IPv4 range include the mapped form's.
    pub mask: Addr,
}

/// The only value of the map `CONFIG`. Replaced as a whole. 600 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// The node's address that masqueraded packets over IPv4 get; zero if it has none.
    pub snat_v4: Addr,
    /// The same over IPv6.
    pub snat_v6: Addr,
    /// `SO_NETNS_COOKIE` of the node's own network namespace.
    pub host_netns: u64,
    /// `CONFIG_*` bits.
    pub flags: u32,
    /// First port that masqueraded packets may get, in host order.
    pub snat_first: u16,
    /// Last one.
    pub snat_last: u16,
    /// Idle seconds after which a flow is forgotten: TCP before the first reply.
    pub tcp_opening_s: u32,
    /// TCP with packets in both directions.
    pub tcp_established_s: u32,
    /// TCP after a RST.
    pub tcp_closing_s: u32,
    /// UDP and SCTP before the first reply.
    pub udp_s: u32,
    /// UDP and SCTP with packets in both directions.
    pub udp_assured_s: u32,
    /// Entries of `clusters` in use.
    pub clusters_len: u32,
    /// Entries of `services` in use.
    pub services_len: u32,
    /// TCP after one side's FIN: the other may go on sending.
    pub tcp_close_wait_s: u32,
    /// TCP after both FINs.
    pub tcp_time_wait_s: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
    /// Addresses of pods (`--cluster-cidr`).
    pub clusters: [Prefix; PREFIXES_MAX],
    /// Addresses of Services (ServiceCIDR objects, `--service-cidr`).
    pub services: [Prefix; PREFIXES_MAX],
}

const _: () = assert!(size_of::<Config>() == 600);

impl Prefix {
    /// Of an address and the number of leading bits that count in its own family.
    pub fn new(addr: core::net::IpAddr, len: u8) -> Self {
        let len = if addr.is_ipv4() { 96 + u32::from(len) } else { u32::from(len) };
        let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
        let mask = Addr::from(core::net::IpAddr::from(mask.to_be_bytes()));
        Self { net: Addr::from(addr).masked(&mask), mask }
    }

    /// Whether an address lies in it.
    #[inline(always)]
    pub fn contains(&self, addr: &Addr) -> bool {
        addr.masked(&self.mask) == self.net
    }
}

impl Config {
    /// Nothing known, and the usual timeouts.
    pub fn new() -> Self {
        Self {
            snat_first: 10_000,
            snat_last: 29_999,
            tcp_opening_s: 60,
            tcp_established_s: 24 * 3600,
            tcp_closing_s: 10,
            tcp_close_wait_s: 3600,
            tcp_time_wait_s: 120,
            udp_s: 60,
            udp_assured_s: 120,
            ..Self::zeroed()
        }
    }

    /// The address that masqueraded packets get in the family of `addr`, if the node has one.
    #[inline(always)]
    pub const fn snat_for(&self, addr: &Addr) -> Option<&Addr> {
        let own = if addr.is_v4() { &self.snat_v4 } else { &self.snat_v6 };
        if own.is_zero() { None } else { Some(own) }
    }

    /// Whether the node has a route for addresses of Services in the family of `addr`.
    #[inline(always)]
    pub const fn is_routed(&self, addr: &Addr) -> bool {
        self.flags & if addr.is_v4() { CONFIG_ROUTED_V4 } else { CONFIG_ROUTED_V6 } != 0
    }

    /// Whether an address is a pod's.
    #[inline(always)]
    pub fn in_cluster(&self, addr: &Addr) -> bool {
        contains(&self.clusters, self.clusters_len, addr)
    }

    /// Whether an address is in a range that Services get theirs from.
    #[inline(always)]
    pub fn in_services(&self, addr: &Addr) -> bool {
        contains(&self.services, self.services_len, addr)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn contains(prefixes: &[Prefix; PREFIXES_MAX], len: u32, addr: &Addr) -> bool {
    let mut index = 0;
    while index < PREFIXES_MAX && (index as u32) < len {
        if prefixes[index].contains(addr) {
            return true;
        }
        index += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_own_family_only() {
        let holds = |net: &str, len, addr: &str| {
            let addr: core::net::IpAddr = addr.parse().unwrap();
            Prefix::new(net.parse().unwrap(), len).contains(&addr.into())
        };
        assert!(holds("10.77.3.4", 16, "10.77.255.1") && !holds("10.77.0.0", 16, "10.78.0.1"));
        assert!(holds("0.0.0.0", 0, "203.0.113.1") && !holds("0.0.0.0", 0, "2001:db8::1"));
        assert!(holds("fd77::", 16, "fd77:1::12") && !holds("fd77::", 16, "10.77.0.1"));
        assert!(holds("::", 0, "2001:db8::1"));
    }
}
