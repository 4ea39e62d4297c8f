//! The tables as BPF maps, and what else only the kernel offers.

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_jiffies64, bpf_set_retval};
use seaway_common::{
    BackendValue, Reason, SLOTS_PER_VALUE, ServiceKey, ServiceValue, SocketKey, SocketValue,
};

use crate::Tables;
use crate::maps::{BACKEND_COUNTERS, BACKENDS, REASONS, SERVICE_COUNTERS, SERVICES, SLOTS, SOCKETS};

/// Set by user space before loading: the kernel has `bpf_set_retval` (5.18). The verifier takes
/// it for a constant and removes the call where it is 0.
#[unsafe(no_mangle)]
static HAVE_SET_RETVAL: Global<u32> = Global::new(0);

/// Set by user space before loading: the kernel's `CONFIG_HZ`.
#[unsafe(no_mangle)]
static TICKS_PER_S: Global<u32> = Global::new(0);

const ECONNREFUSED: i32 = 111;

/// The tables in their maps, flows aside.
pub struct KernelTables;

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

impl Tables for KernelTables {
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
    fn now(&self) -> u64 {
        // SAFETY: the helper has no arguments; it becomes a plain load.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn ticks_per_s(&self) -> u64 {
        u64::from(TICKS_PER_S.load())
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no arguments.
        unsafe { bpf_get_prandom_u32() }
    }
}
