//! The BPF maps.
//!
//! Sizes here are placeholders: user space sets them from its configuration before it loads the
//! object, and pins them: they outlive the agent.
//!
//! | map | key | value | writer | readers | when full |
//! |---|---|---|---|---|---|
//! | `META` | 0 | `Meta` | agent | agent | – |
//! | `SERVICES` | `ServiceKey` | `ServiceValue` | agent | xdp, connect, sendmsg | the service is reported and left out |
//! | `SLOTS` | index / 2 | `SlotValue` | agent (mmap) | xdp, connect, sendmsg | the same |
//! | `BACKENDS` | backend id | `BackendValue` | agent (mmap) | xdp, connect, sendmsg | the same |
//! | `FLOWS_V4` | `FlowKeyV4` | `FlowValueV4` | xdp | xdp | the least recently used entry goes |
//! | `FLOWS_V6` | `FlowKey` | `FlowValue` | xdp | xdp | the same |
//! | `SOCKETS` | `SocketKey` | `SocketValue` | connect, sendmsg, release | recvmsg, getpeername, sendmsg | the same |
//! | `NAMES` | service id | `NameValue` | agent | `seaway dump` | as `SERVICES` |
//! | `BACKEND_COUNTERS` | backend id | `BackendCounters` | xdp | `seaway dump` | – |
//! | `SERVICE_COUNTERS` | service id | `ServiceCounters` | xdp, connect, sendmsg | `seaway dump` | – |
//! | `REASONS` | `Reason` | `u64` | all | `seaway status` | – |

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use seaway_common::{
    BackendCounters, BackendValue, FlowKey, FlowKeyV4, FlowValue, FlowValueV4, Meta, NameValue, Reason,
    ServiceCounters, ServiceKey, ServiceValue, SlotValue, SocketKey, SocketValue,
};

#[map]
pub(crate) static META: Array<Meta> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static SERVICES: HashMap<ServiceKey, ServiceValue> = HashMap::with_max_entries(1, 0);

#[map]
pub(crate) static SLOTS: Array<SlotValue> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static BACKENDS: Array<BackendValue> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
pub(crate) static FLOWS_V4: LruHashMap<FlowKeyV4, FlowValueV4> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static FLOWS_V6: LruHashMap<FlowKey, FlowValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static SOCKETS: LruHashMap<SocketKey, SocketValue> = LruHashMap::with_max_entries(1, 0);

#[map]
pub(crate) static NAMES: HashMap<u32, NameValue> = HashMap::with_max_entries(1, 0);

#[map]
pub(crate) static BACKEND_COUNTERS: PerCpuArray<BackendCounters> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static SERVICE_COUNTERS: PerCpuArray<ServiceCounters> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::ALL.len() as u32, 0);
