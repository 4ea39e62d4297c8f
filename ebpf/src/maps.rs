//! The BPF maps.
//!
//! Sizes here are placeholders: user space sets them from its configuration before it loads the
//! object, and pins them: they outlive the agent. Maps that only the agent writes take memory for what is
//! in them (`BPF_F_NO_PREALLOC`), those that programs write for what could be.
//!
//! | map | key | value | writer | readers | when full |
//! |---|---|---|---|---|---|
//! | `META` | 0 | `Meta` | agent | agent | – |
//! | `SERVICES` | `ServiceKey` | `ServiceValue` | agent | xdp, connect, sendmsg | the service is reported and left out |
//! | `SLOTS` | index / 2 | `SlotValue` | agent (mmap) | xdp, connect, sendmsg | the same |
//! | `BACKENDS` | backend id | `BackendValue` | agent (mmap) | xdp, connect, sendmsg | the same |
//! | `FLOWS_V4` | `FlowKeyV4` | `FlowValueV4` | xdp, tc | xdp, tc | the least recently used entry goes |
//! | `FLOWS_V6` | `FlowKey` | `FlowValue` | xdp, tc | xdp, tc | the same |
//! | `HALF_OPEN_V4` | `FlowKeyV4` | `FlowValueV4` | xdp, tc | xdp, tc | the same |
//! | `HALF_OPEN_V6` | `FlowKey` | `FlowValue` | xdp, tc | xdp, tc | the same |
//! | `SOCKETS` | `SocketKey` | `SocketValue` | connect, sendmsg, release | recvmsg, getpeername, sendmsg | the same |
//! | `NAMES` | service id | `NameValue` | agent | `seaway dump` | as `SERVICES` |
//! | `BACKEND_COUNTERS` | backend id | `BackendCounters` | xdp, tc | `seaway dump` (mmap) | – |
//! | `COUNTER_CELLS` | backend id modulo its size | `CounterCell` | xdp, tc | `seaway dump` | the cell changes hands |
//! | `SERVICE_COUNTERS` | service id | `ServiceCounters` | xdp, tc, connect, sendmsg | `seaway dump` (mmap) | – |
//! | `REASONS` | `Reason` | `u64` | all | `seaway status` | – |
//! | `CONFIG` | 0 | `Config` | agent | all | – |
//! | `ADDRESSES` | `Addr` | `ADDRESS_*` | agent | all | as `SERVICES` |
//! | `SOURCE_RANGES` | `SourceRangeKey` | 0 | agent | xdp, tc, connect, sendmsg | the service is reported and left out |
//! | `AFFINITY` | `AffinityKey` | `AffinityValue` | xdp, tc, connect, sendmsg | the same | the least recently used entry goes |
//! | `FRAGMENTS` | `FragmentKey` | `FragmentValue` | xdp, tc | xdp, tc | the same |
//! | `TURNS` | service id | `u64` | xdp, tc, connect, sendmsg | the same | – |
//! | `CONNECTIONS` | backend id | `u64` | xdp, tc, connect, release, agent | xdp, tc, connect, sendmsg | – |
//! | `DEVICES` | interface index | `DeviceValue` | agent | xdp | the device is left to tc |
//! | `FLOW_COUNTS` | `FLOW_COUNTS_*` | `FlowCounts` | xdp, tc, agent | agent | – |
//! | `STAND_IN` | 0 | `u64` | agent | xdp, tc, connect, sendmsg | – |
//! | `ROUTE_GENERATION` | 0 | `u64` | agent | xdp, tc | – |

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key as LpmKey, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use seaway_common::{
    Addr, AffinityKey, AffinityValue, BackendCounters, BackendValue, Config, CounterCell, DeviceValue,
    FlowCounts, FlowKey, FlowKeyV4, FlowValue, FlowValueV4, FragmentKey, FragmentValue, Meta, NameValue,
    Reason, ServiceCounters, ServiceKey, ServiceValue, SlotValue, SocketKey, SocketValue,
};

use crate::{Headers, Inner, Plan};

/// What follows the length in a [`seaway_common::SourceRangeKey`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RangeData {
    pub(crate) service: u32,
    pub(crate) addr: [u32; 4],
}

const _: () = assert!(size_of::<LpmKey<RangeData>>() == size_of::<seaway_common::SourceRangeKey>());

#[map]
pub(crate) static META: Array<Meta> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static SERVICES: HashMap<ServiceKey, ServiceValue> =
    HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static SLOTS: Array<SlotValue> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static BACKENDS: Array<BackendValue> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static FLOWS_V4: LruHashMap<FlowKeyV4, FlowValueV4> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static FLOWS_V6: LruHashMap<FlowKey, FlowValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static HALF_OPEN_V4: LruHashMap<FlowKeyV4, FlowValueV4> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static HALF_OPEN_V6: LruHashMap<FlowKey, FlowValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static SOCKETS: LruHashMap<SocketKey, SocketValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static NAMES: HashMap<u32, NameValue> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static BACKEND_COUNTERS: Array<BackendCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static COUNTER_CELLS: PerCpuArray<CounterCell> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static SERVICE_COUNTERS: Array<ServiceCounters> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static ADDRESSES: HashMap<Addr, u32> = HashMap::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static SOURCE_RANGES: LpmTrie<RangeData, u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static AFFINITY: LruHashMap<AffinityKey, AffinityValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static TURNS: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static CONNECTIONS: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static DEVICES: HashMap<u32, DeviceValue> = HashMap::with_max_entries(1, 0);

#[map]
pub(crate) static FLOW_COUNTS: PerCpuArray<FlowCounts> = PerCpuArray::with_max_entries(2, 0);

#[map]
pub(crate) static STAND_IN: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static ROUTE_GENERATION: Array<u64> = Array::with_max_entries(1, 0);

/// Scratch memory of the packet programs, see `Tables::keep_headers`; neither pinned nor read by anybody else.
#[map]
pub(crate) static HEADERS: PerCpuArray<Headers> = PerCpuArray::with_max_entries(1, 0);

/// The same for `Tables::keep_plan`.
#[map]
pub(crate) static PLAN: PerCpuArray<Plan> = PerCpuArray::with_max_entries(1, 0);

/// The same for `Tables::keep_inner`.
#[map]
pub(crate) static INNER: PerCpuArray<Inner> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::ALL.len() as u32, 0);
