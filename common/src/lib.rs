//! The contract between the kernel programs and user space: keys, values, limits and reasons.
//!
//! Everything here compiles for the BPF target and for the host, contains no pointer and no
//! padding that is not named, and is plain old data by derive. A change of any layout bumps
//! [`ABI_VERSION`], which is checked when pinned maps are adopted.

#![no_std]
#![forbid(unsafe_code)]
#![expect(clippy::cast_possible_truncation, reason = "sums are folded by it, and sizes are small constants")]

mod addr;
mod backend;
mod byte_order;
mod checksum;
mod client;
mod config;
mod counters;
mod device;
mod feed;
mod flow;
mod fragment;
mod hash;
mod map;
mod reason;
mod service;
mod slot;
mod socket;

pub use addr::Addr;
pub use backend::{
    BACKEND_HOST, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, BACKEND_LOCAL, BACKEND_SERVING, BackendValue,
};
pub use byte_order::{Be16, Be32};
pub use checksum::{Delta, Sum};
pub use client::{AffinityKey, AffinityValue, SourceRangeKey};
pub use config::{
    CONFIG_CROSS, CONFIG_KERNEL_FLOWS, CONFIG_MASQUERADE_ALL, CONFIG_POD_PATH, CONFIG_ROUTED_V4,
    CONFIG_ROUTED_V6, Config, PREFIXES_MAX, Prefix,
};
pub use counters::{
    BackendCounters, COUNTER_CELLS, CounterCell, FLOW_COUNTS_AGENT, FLOW_COUNTS_PROGRAMS, FlowCounts,
    ServiceCounters,
};
pub use device::{DEVICE_BRIDGE_PORT, DEVICE_L3, DEVICE_STRICT_RP_FILTER, DEVICE_XDP_TRANSMIT, DeviceValue};
pub use feed::{FEED_BYTES, FeedConfig};
pub use flow::{
    FLOW_AT_EGRESS, FLOW_DSR, FLOW_ESTABLISHED, FLOW_FIN_FORWARD, FLOW_FIN_REPLY, FLOW_FORWARD, FLOW_KERNEL,
    FLOW_REPLIED, FLOW_RESET, FLOW_SHARED, FLOW_STAND_IN, FLOW_TO_INGRESS, FLOW_TRANSMIT, FLOW_XDP_HOP,
    FlowKey, FlowKeyV4, FlowValue, FlowValueV4, Hop, KERNEL_FLOW_S, Rewrite, flow_ended, flow_timeout_s,
};
pub use fragment::{FragmentKey, FragmentValue};
pub use hash::{hash_client, hash_flow};
pub use map::{Capacities, MapName, Meta};
pub use reason::{Action, Reason};
pub use service::{
    ADDRESS_CLUSTER_IP, ADDRESS_EXTERNAL, ADDRESS_OWN, Algorithm, NAME_LEN, NameValue, SERVICE_BALANCER,
    SERVICE_CROSS, SERVICE_DSR, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED,
    SERVICE_INTERNAL_LOCAL, SERVICE_LOOPBACK, SERVICE_LOOPBACK_NET, SERVICE_NAMED, SERVICE_NEAR,
    SERVICE_SOMEWHERE, SERVICE_STAND_IN, ServiceKey, ServiceValue,
};
pub use slot::{SLOTS_PER_VALUE, Slice, SlotValue};
pub use socket::{
    SOCKET_CHAIN_MAX, SOCKET_HEAD, SOCKET_PEER, SOCKET_TARGET, SocketKey, SocketRef, SocketValue,
};

/// Version of the map layouts in this crate. Pinned maps of another version are refused.
pub const ABI_VERSION: u32 = 6;

/// Transport protocol numbers (IANA), as they stand in keys.
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
