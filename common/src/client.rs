//! Clients of services: which may use one, and which endpoint one was bound to.

use bytemuck::{Pod, Zeroable};

use crate::Addr;

/// Key of `SOURCE_RANGES`, a longest-prefix-match trie: a service port and a range of clients. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct SourceRangeKey {
    /// Bits that count, in memory order: 32 for the service and those of the address in its
    /// 16-byte form. 160 in lookups.
    pub prefix_len: u32,
    /// Id of the service port.
    pub service: u32,
    /// First address of the range.
    pub addr: Addr,
}

const _: () = assert!(size_of::<SourceRangeKey>() == 24);

impl SourceRangeKey {
    /// The key that looks a client up.
    #[inline(always)]
    pub const fn client(service: u32, addr: Addr) -> Self {
        Self { prefix_len: 160, service, addr }
    }
}

/// Key of `AFFINITY`. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct AffinityKey {
    /// The client's address.
    pub client: Addr,
    /// Id of the service port.
    pub service: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<AffinityKey>() == 24);

/// The endpoint that a client was bound to. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct AffinityValue {
    /// Time of the client's last new connection, in kernel ticks.
    pub last_used: u64,
    /// Backend id.
    pub backend: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<AffinityValue>() == 16);
