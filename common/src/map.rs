//! Names and sizes of the maps.

use bytemuck::{Pod, Zeroable};

/// The only value of the map `META`: what a later agent must know before it adopts the others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Meta {
    /// [`crate::ABI_VERSION`] of the agent that made the maps; 0 while they are being made.
    pub abi_version: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<Meta>() == 8);

/// A map's name in the object file, and of its pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapName {
    /// Array of one [`Meta`].
    Meta,
    /// Hash from [`crate::ServiceKey`] to [`crate::ServiceValue`].
    Services,
    /// Array of [`crate::SlotValue`], mapped into user space.
    Slots,
    /// Array of [`crate::BackendValue`] by backend id, mapped into user space.
    Backends,
    /// LRU hash from [`crate::FlowKeyV4`] to [`crate::FlowValueV4`].
    FlowsV4,
    /// LRU hash from [`crate::FlowKey`] to [`crate::FlowValue`].
    FlowsV6,
    /// As `FlowsV4`, of flows that are not established: a flood of them leaves the others alone.
    HalfOpenV4,
    /// As `FlowsV6`, of flows that are not established.
    HalfOpenV6,
    /// LRU hash from [`crate::SocketKey`] to [`crate::SocketValue`].
    Sockets,
    /// Hash from service id to [`crate::NameValue`]; no program reads it.
    Names,
    /// Array of [`crate::BackendCounters`] by backend id, mapped into user space: totals without what is
    /// in cells.
    BackendCounters,
    /// Per-CPU array of [`crate::CounterCell`].
    CounterCells,
    /// Array of [`crate::ServiceCounters`] by service id, mapped into user space.
    ServiceCounters,
    /// Per-CPU array of `u64` by [`crate::Reason`].
    Reasons,
    /// Array of one [`crate::Config`].
    Config,
    /// Hash from a virtual address ([`crate::Addr`]) to `ADDRESS_*` bits.
    Addresses,
    /// Trie from [`crate::SourceRangeKey`] to a `u32` without meaning.
    SourceRanges,
    /// LRU hash from [`crate::AffinityKey`] to [`crate::AffinityValue`].
    Affinity,
    /// LRU hash from [`crate::FragmentKey`] to [`crate::FragmentValue`].
    Fragments,
    /// Array of `u64` by service id: how many clients were placed in turn.
    Turns,
    /// Array of `u64` by backend id: open connections, counted anew by the agent from time to time.
    Connections,
    /// Hash from interface index to [`crate::DeviceValue`].
    Devices,
    /// Per-CPU array of [`crate::FlowCounts`] by who counts: `FLOW_COUNTS_*`.
    FlowCounts,
    /// Array of one `u64`: up to when the server of this node's agent stands in for endpoints, in
    /// nanoseconds of `CLOCK_MONOTONIC`.
    StandIn,
    /// Array of one `u64` that changes whenever a route, neighbour or device did: next hops that flows keep
    /// from before are looked up again.
    RouteGeneration,
}

impl MapName {
    /// Every map.
    pub const ALL: &[Self] = &[
        Self::Meta,
        Self::Services,
        Self::Slots,
        Self::Backends,
        Self::FlowsV4,
        Self::FlowsV6,
        Self::HalfOpenV4,
        Self::HalfOpenV6,
        Self::Sockets,
        Self::Names,
        Self::BackendCounters,
        Self::CounterCells,
        Self::ServiceCounters,
        Self::Reasons,
        Self::Config,
        Self::Addresses,
        Self::SourceRanges,
        Self::Affinity,
        Self::Fragments,
        Self::Turns,
        Self::Connections,
        Self::Devices,
        Self::FlowCounts,
        Self::StandIn,
        Self::RouteGeneration,
    ];

    /// Name in the object file and of the pin.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "META",
            Self::Services => "SERVICES",
            Self::Slots => "SLOTS",
            Self::Backends => "BACKENDS",
            Self::FlowsV4 => "FLOWS_V4",
            Self::FlowsV6 => "FLOWS_V6",
            Self::HalfOpenV4 => "HALF_OPEN_V4",
            Self::HalfOpenV6 => "HALF_OPEN_V6",
            Self::Sockets => "SOCKETS",
            Self::Names => "NAMES",
            Self::BackendCounters => "BACKEND_COUNTERS",
            Self::CounterCells => "COUNTER_CELLS",
            Self::ServiceCounters => "SERVICE_COUNTERS",
            Self::Reasons => "REASONS",
            Self::Config => "CONFIG",
            Self::Addresses => "ADDRESSES",
            Self::SourceRanges => "SOURCE_RANGES",
            Self::Affinity => "AFFINITY",
            Self::Fragments => "FRAGMENTS",
            Self::Turns => "TURNS",
            Self::Connections => "CONNECTIONS",
            Self::Devices => "DEVICES",
            Self::FlowCounts => "FLOW_COUNTS",
            Self::StandIn => "STAND_IN",
            Self::RouteGeneration => "ROUTE_GENERATION",
        }
    }
}

/// How many entries the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Frontends.
    pub frontends: u32,
    /// Service ports.
    pub services: u32,
    /// Backends.
    pub backends: u32,
    /// Slots, over all slices.
    pub slots: u32,
    /// Flow entries over IPv4; a flow takes two.
    pub flows_v4: u32,
    /// Flow entries over IPv6; a flow takes two.
    pub flows_v6: u32,
    /// Socket entries; a connected socket takes two.
    pub sockets: u32,
    /// Ranges of clients, over all services.
    pub source_ranges: u32,
    /// Clients bound to an endpoint.
    pub affinity: u32,
    /// Datagrams whose later fragments may come.
    pub fragments: u32,
    /// Network devices.
    pub devices: u32,
}

impl Capacities {
    /// Room for 10,000 services with 100,000 endpoints several times over, and for as many flows as
    /// kube-proxy leaves room for at least (`--conntrack-min`, 131,072); below 128 MB in all on a node of 64
    /// CPUs (`tests/tests/map_memory.rs`).
    pub const DEFAULT: Self = Self {
        frontends: 131_072,
        services: 65_536,
        backends: 262_144,
        slots: 1_048_576,
        flows_v4: 262_144,
        flows_v6: 131_072,
        sockets: 131_072,
        source_ranges: 65_536,
        affinity: 65_536,
        fragments: 8_192,
        devices: 4_096,
    };

    /// Entries of one map.
    pub const fn of(&self, map: MapName) -> u32 {
        match map {
            MapName::Meta | MapName::Config | MapName::StandIn | MapName::RouteGeneration => 1,
            MapName::FlowCounts => 2,
            MapName::CounterCells => crate::COUNTER_CELLS,
            MapName::Services | MapName::Addresses => self.frontends,
            MapName::Slots => self.slots.div_ceil(crate::SLOTS_PER_VALUE),
            MapName::Backends | MapName::BackendCounters | MapName::Connections => self.backends,
            MapName::FlowsV4 => self.flows_v4,
            MapName::FlowsV6 => self.flows_v6,
            MapName::HalfOpenV4 => half_open(self.flows_v4),
            MapName::HalfOpenV6 => half_open(self.flows_v6),
            MapName::Sockets => self.sockets,
            MapName::Names | MapName::ServiceCounters | MapName::Turns => self.services,
            MapName::SourceRanges => self.source_ranges,
            MapName::Affinity => self.affinity,
            MapName::Fragments => self.fragments,
            MapName::Devices => self.devices,
            MapName::Reasons => crate::Reason::ALL.len() as u32,
        }
    }
}

/// Entries for flows that are not established, where so many are kept of the others. A handshake takes
/// milliseconds: what counts is that a legitimate one is through before a flood has come round the table.
const fn half_open(flows: u32) -> u32 {
    let share = flows / 8;
    if share < 1024 { 1024 } else { share }
}
