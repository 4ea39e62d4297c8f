//! The tables as BPF maps, and what else only the kernel offers.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_set_retval};
use seaway_common::{
    Addr, BackendValue, Be16, FlowKey, FlowValue, Reason, SLOTS_PER_VALUE, ServiceKey, ServiceValue, SocketKey,
    SocketValue,
};

use crate::maps::{BACKEND_COUNTERS, BACKENDS, FLOWS, REASONS, SERVICE_COUNTERS, SERVICES, SLOTS, SOCKETS};
use crate::{FlowEntry, Tables};

/// Set by user space before loading: the kernel has `bpf_set_retval` (5.18). The verifier takes
/// it for a constant and removes the call where it is 0.
#[unsafe(no_mangle)]
static HAVE_SET_RETVAL: Global<u32> = Global::new(0);

const ECONNREFUSED: i32 = 111;

/// The tables in their maps.
pub struct KernelTables;

/// A value of `FLOWS`, where it lies.
pub struct MapFlow(*mut FlowValue);

/// Counts `reason`.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: the value belongs to this CPU, and programs of one CPU do not run inside each
        // other's maps access; at worst an interrupting program's count is lost.
        unsafe { *counter += 1 };
    }
}

/// Makes the system call fail with `ECONNREFUSED`; before kernel 5.18 it fails with `EPERM`.
/// Returns what the program has to return.
#[inline(always)]
pub fn refuse() -> i32 {
    if HAVE_SET_RETVAL.load() != 0 {
        // SAFETY: the helper takes a number and exists where the flag is set.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    0
}

impl FlowEntry for MapFlow {
    #[inline(always)]
    fn get(&self) -> FlowValue {
        // SAFETY: the pointer came from a successful lookup in this run of the program; elements
        // stay readable until it ends. Another CPU may write `state` and `last_seen_ns` meanwhile:
        // both are single aligned words, and either value is a right one.
        unsafe { *self.0 }
    }

    #[inline(always)]
    fn state(&self) -> u32 {
        // SAFETY: as in `get`.
        unsafe { (*self.0).state }
    }

    #[inline(always)]
    fn leaves_from(&self, addr: &Addr, port: Be16) -> bool {
        // SAFETY: as in `get`.
        unsafe { (*self.0).to.src == *addr && (*self.0).to.sport == port }
    }

    #[inline(always)]
    fn touch(&self, state: u32, now_ns: u64) {
        // SAFETY: as in `get`; concurrent touches of the same entry write equally good words.
        unsafe {
            (*self.0).state = state;
            (*self.0).last_seen_ns = now_ns;
        }
    }
}

impl Tables for KernelTables {
    type Flow = MapFlow;

    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        // SAFETY: the value is copied at once. An element that is replaced meanwhile is put on
        // this CPU's free list and not written before another update takes it from there.
        unsafe { SERVICES.get(key) }.copied()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        let value = SLOTS.get(index / SLOTS_PER_VALUE)?;
        Some(if index % SLOTS_PER_VALUE == 0 { value.ids[0] } else { value.ids[1] })
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<BackendValue> {
        BACKENDS.get(id).copied()
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<MapFlow> {
        FLOWS.get_ptr_mut(key).map(MapFlow)
    }

    #[inline(always)]
    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        FLOWS.insert(key, value, u64::from(BPF_ANY)).map_err(|_| Reason::FlowsFull)
    }

    #[inline(always)]
    fn socket(&self, key: &SocketKey) -> Option<SocketValue> {
        // SAFETY: copied at once; the key holds the socket's cookie, and a socket's entries are
        // written by that socket's own system calls.
        unsafe { SOCKETS.get(key) }.copied()
    }

    #[inline(always)]
    fn put_socket(&self, key: &SocketKey, value: &SocketValue) -> Result<(), Reason> {
        SOCKETS.insert(key, value, u64::from(BPF_ANY)).map_err(|_| Reason::SocketsFull)
    }

    #[inline(always)]
    fn remove_socket(&self, key: &SocketKey) {
        // The only failure is that the LRU took the entry first, which is as good.
        let _gone = SOCKETS.remove(key);
    }

    #[inline(always)]
    fn count_packet(&self, backend: u32, bytes: usize) {
        if let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(backend) {
            // SAFETY: a per-CPU value, see `count`.
            unsafe {
                (*counters).packets += 1;
                (*counters).bytes += bytes as u64;
            }
        }
    }

    #[inline(always)]
    fn count_connection(&self, service: u32, placed: bool) {
        if let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(service) {
            // SAFETY: a per-CPU value, see `count`.
            unsafe {
                if placed {
                    (*counters).placed += 1;
                } else {
                    (*counters).refused += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper has no arguments and exists since kernel 5.11.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no arguments.
        unsafe { bpf_get_prandom_u32() }
    }
}
