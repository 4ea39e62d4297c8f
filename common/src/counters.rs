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

/// Entries of both flow maps that somebody made or took away. What is neither taken away nor there was
/// evicted, since a map was full.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowCounts {
    /// Entries that were not there before; two for each flow.
    pub made: u64,
    /// Entries that were taken away.
    pub removed: u64,
}

/// Where the programs count entries.
pub const FLOW_COUNTS_PROGRAMS: u32 = 0;

/// Where the agent does, for the first CPU.
pub const FLOW_COUNTS_AGENT: u32 = 1;

const _: () = assert!(size_of::<BackendCounters>() == 16 && size_of::<ServiceCounters>() == 16);
const _: () = assert!(size_of::<FlowCounts>() == 16);
