//! What the benchmarks' packet feeder needs to know.

use bytemuck::{Pod, Zeroable};

/// Bytes that the feeder restores at the start of every packet: the headers up to TCP over IPv6.
pub const FEED_BYTES: usize = 80;

/// One packet, and how to vary it. The only value of the map `FEED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FeedConfig {
    /// The packet's first bytes, in words.
    pub template: [u64; FEED_BYTES / 8],
    /// Flows to go through; packet `n` belongs to flow `first + n % flows`.
    pub flows: u32,
    /// The first of them.
    pub first: u32,
    /// Offset of the client's port. The flow's low sixteen bits are added to it.
    pub port_offset: u32,
    /// Offset of the last two bytes of the client's address, to which the flow's high bits are added.
    pub addr_offset: u32,
    /// The packet's length where the program puts something in front of it, which is taken away again; else 0.
    pub length: u32,
    /// Interface that live frames are sent out by; 0 where they go to the program under test.
    pub ifindex: u32,
}

const _: () = assert!(size_of::<FeedConfig>() == 104);
