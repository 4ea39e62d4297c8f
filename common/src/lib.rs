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
mod counters;
mod feed;
mod flow;
mod map;
mod reason;
mod service;
mod slot;
mod socket;

pub use addr::Addr;
pub use backend::{BACKEND_LOCAL, BACKEND_SERVING, BackendValue};
pub use byte_order::{Be16, Be32};
pub use checksum::{Delta, Sum};
pub use counters::{BackendCounters, ServiceCounters};
pub use feed::{FEED_BYTES, FeedConfig};
pub use flow::{
    FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, FlowKey, FlowKeyV4, FlowValue, FlowValueV4, Rewrite,
};
pub use map::{Capacities, MapName, Meta};
pub use reason::Reason;
pub use service::{
    NAME_LEN, NameValue, SERVICE_EXTERNAL_LOCAL, SERVICE_INTERNAL_LOCAL, ServiceKey, ServiceValue,
};
pub use slot::{SLOTS_PER_VALUE, Slice, SlotValue};
pub use socket::{
    SOCKET_CHAIN_MAX, SOCKET_HEAD, SOCKET_PEER, SOCKET_TARGET, SocketKey, SocketRef, SocketValue,
};

/// Version of the map layouts in this crate. Pinned maps of another version are refused.
pub const ABI_VERSION: u32 = 1;

/// Transport protocol numbers (IANA), as they stand in keys.
pub mod proto {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
