//! Counters.
//!
//! Packets are counted without atomic operations and without a counter for each backend on each CPU,
//! which for 64 CPUs would be 256 MB: a CPU has [`COUNTER_CELLS`] cells, and backend `id` uses the cell
//! `id % COUNTER_CELLS`. One that finds another backend in its cell adds that one's counts to the totals,
//! which all CPUs share, and takes the cell over. A backend's count is its total and what is in cells.

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

/// What one CPU counted for a backend since the backend took the cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct CounterCell {
    /// Backend id.
    pub backend: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
    /// Packets and bytes that are in no total yet.
    pub counts: BackendCounters,
}

/// Cells of each CPU, a power of two. With fewer backends than this in use no cell changes hands.
pub const COUNTER_CELLS: u32 = 2048;

const _: () = assert!(COUNTER_CELLS.is_power_of_two());

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
const _: () = assert!(size_of::<FlowCounts>() == 16 && size_of::<CounterCell>() == 24);
