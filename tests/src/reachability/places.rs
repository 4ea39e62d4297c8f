//! Who is who in the topology, and with which addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Deserialize;

/// Where a probe starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    Client,
    /// The same host with another address.
    Client2,
    PodL1,
    PodL2,
    PodR1,
    PodR2,
    N1,
    N2,
}

/// Pods, by node: name and addresses.
pub(crate) const LOCAL_PODS: [(Place, [&str; 2]); 2] =
    [(Place::PodL1, ["10.77.1.11", "fd77:1::11"]), (Place::PodL2, ["10.77.1.12", "fd77:1::12"])];
pub(crate) const REMOTE_PODS: [(Place, [&str; 2]); 2] =
    [(Place::PodR1, ["10.77.2.11", "fd77:2::11"]), (Place::PodR2, ["10.77.2.12", "fd77:2::12"])];
/// The networks of the pods that share one namespace on n2.
pub(crate) const POD_RANGE: [&str; 2] = ["10.77.2.128/25", "fd77:2::1:0/112"];

/// The link between the nodes: n1's side, n2's side.
pub(crate) const N1_NODE: [&str; 2] = ["172.18.0.1", "fd18::1"];
pub(crate) const N2_NODE: [&str; 2] = ["172.18.0.2", "fd18::2"];
/// n1 towards the client.
pub(crate) const N1_EXT: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// What pods have as their gateway.
pub(crate) const N1_PODS: [&str; 2] = ["10.77.1.1", "fd77:1::1"];
pub(crate) const N2_PODS: [&str; 2] = ["10.77.2.1", "fd77:2::1"];

/// What n2 knows to be behind n1.
pub(crate) const BEHIND_N1: [&str; 10] = [
    "10.77.1.0/24",
    "192.0.2.0/24",
    "10.96.0.0/16",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "fd77:1::/64",
    "2001:db8::/64",
    "fd96::/112",
    "2001:db8:e::/64",
    "2001:db8:1b::/64",
];

/// How many addresses the client has beside its own two.
pub(crate) const POOL: u8 = 30;
const POOL_FIRST: u8 = 101;

impl Place {
    /// The address that a probe has to start from, where a host has several.
    pub(crate) fn source(self, is_v4: bool) -> Option<IpAddr> {
        match self {
            Self::Client => Some(client(10, is_v4)),
            Self::Client2 => Some(client(20, is_v4)),
            _ => None,
        }
    }

    /// Whether its processes belong to n1.
    pub(crate) fn is_on_n1(self) -> bool {
        matches!(self, Self::N1 | Self::PodL1 | Self::PodL2)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Client2 => "client2",
            Self::PodL1 => "pod-l1",
            Self::PodL2 => "pod-l2",
            Self::PodR1 => "pod-r1",
            Self::PodR2 => "pod-r2",
            Self::N1 => "n1",
            Self::N2 => "n2",
        })
    }
}

/// The client's address for attempt `index` of a probe with a pool of sources.
pub(crate) fn pooled(index: u32, is_v4: bool) -> IpAddr {
    let offset = u8::try_from(index % u32::from(POOL)).unwrap_or_default();
    client(POOL_FIRST + offset, is_v4)
}

/// All addresses of the client's host in one family.
pub(crate) fn client_addresses(is_v4: bool) -> Vec<IpAddr> {
    let hosts = [10, 20].into_iter().chain(POOL_FIRST..POOL_FIRST + POOL);
    hosts.map(|host| client(host, is_v4)).collect()
}

/// Whether it is one of n1's own addresses, which are not told apart.
pub(crate) fn is_n1(address: IpAddr) -> bool {
    // The reference had a link to its control plane as well.
    let own = [N1_NODE, N1_EXT, N1_PODS, ["10.99.0.2", "10.99.0.2"]];
    own.into_iter().flatten().any(|own| own.parse() == Ok(address))
}

/// Whether an endpoint of this name is on n1.
pub(crate) fn is_on_n1(name: &str) -> bool {
    [Place::N1, Place::PodL1, Place::PodL2].iter().any(|place| place.to_string() == name)
}

/// 192.0.2.10 is 2001:db8::10, the pool's 192.0.2.101 is 2001:db8::65: digits in one, a number in
/// the other.
fn client(host: u8, is_v4: bool) -> IpAddr {
    if is_v4 {
        return Ipv4Addr::new(192, 0, 2, host).into();
    }
    let last = if host < POOL_FIRST { host / 10 * 0x10 + host % 10 } else { host };
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into()
}
