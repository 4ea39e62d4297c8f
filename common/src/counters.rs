//! Counters, one copy per CPU.

use bytemuck::{Pod, Zeroable};

/// Traffic towards one backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct BackendCounters {
    /// Packets translated towards the backend.
    pub packets: u64,
    /// Their bytes, link header included.
    pub bytes: u64,
}

/// Choices made for one service port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct ServiceCounters {
    /// Connections and first datagrams that were given a backend.
    pub placed: u64,
    /// Those that found no endpoint.
    pub refused: u64,
}

const _: () = assert!(size_of::<BackendCounters>() == 16 && size_of::<ServiceCounters>() == 16);
