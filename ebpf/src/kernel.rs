//! The tables as BPF maps, and what else only the kernel offers.

use core::arch::asm;

use aya_ebpf::Global;
use aya_ebpf::bindings::{__sk_buff, BPF_ANY, xdp_md};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns, bpf_set_retval};
use aya_ebpf::maps::lpm_trie::Key as RangeKey;
use seaway_common::{
    Addr, AffinityKey, AffinityValue, BackendValue, Be16, COUNTER_CELLS as CELLS, Config, CounterCell,
    DEVICE_BRIDGE_PORT, FlowKey, FlowValue, FlowValueV4, FragmentKey, FragmentValue, Reason, SLOTS_PER_VALUE,
    ServiceKey, ServiceValue, SocketKey, SocketValue,
};

use crate::maps::{
    ADDRESSES, AFFINITY, BACKEND_COUNTERS, BACKENDS, CONFIG, CONNECTIONS, COUNTER_CELLS, DEVICES, FRAGMENTS,
    HEADERS, INNER, PLAN, REASONS, ROUTE_GENERATION, RangeData, SERVICE_COUNTERS, SERVICES, SLOTS, SOCKETS,
    SOURCE_RANGES, STAND_IN, TURNS,
};
use crate::pair::Claim;
use crate::start::Started;
use crate::translate::{Stage, deliver, translate_icmp, translate_parsed};
use crate::{FlowEntry, Flows, Headers, Inner, Packet, Plan, Room, Tables};

/// Set by user space before loading: the kernel has `bpf_set_retval` (5.18). The verifier takes
/// it for a constant and removes the call where it is 0.
#[unsafe(no_mangle)]
static HAVE_SET_RETVAL: Global<u32> = Global::new(0);

/// Set by user space before loading: the kernel's `CONFIG_HZ`.
#[unsafe(no_mangle)]
static TICKS_PER_S: Global<u32> = Global::new(0);

unsafe extern "C" {
    // Beside the entry points (`global.rs`): the benchmarks' object is without them.
    fn start_xdp_v4(ctx: *mut xdp_md) -> u64;
    fn start_xdp_v6(ctx: *mut xdp_md) -> u64;
    fn start_tc_v4(ctx: *mut __sk_buff, egress: u64) -> u64;
    fn start_tc_v6(ctx: *mut __sk_buff, egress: u64) -> u64;
    fn attempt_v4(plan: *mut Plan, egress: u64) -> u64;
    fn attempt_v6(plan: *mut Plan, egress: u64) -> u64;
    fn ingress_v4(ctx: *mut __sk_buff) -> u64;
    fn ingress_v6(ctx: *mut __sk_buff) -> u64;
    fn egress_v4(ctx: *mut __sk_buff) -> u64;
    fn egress_v6(ctx: *mut __sk_buff) -> u64;
    fn icmp_ingress_v4(ctx: *mut __sk_buff) -> u64;
    fn icmp_ingress_v6(ctx: *mut __sk_buff) -> u64;
    fn icmp_egress_v4(ctx: *mut __sk_buff) -> u64;
    fn icmp_egress_v6(ctx: *mut __sk_buff) -> u64;
    fn deliver_ingress_v4(ctx: *mut __sk_buff, entry: *mut FlowValueV4, moved: u64) -> u64;
    fn deliver_ingress_v6(ctx: *mut __sk_buff, entry: *mut FlowValue, moved: u64) -> u64;
    fn deliver_egress_v4(ctx: *mut __sk_buff, entry: *mut FlowValueV4, moved: u64) -> u64;
    fn deliver_egress_v6(ctx: *mut __sk_buff, entry: *mut FlowValue, moved: u64) -> u64;
}

const ECONNREFUSED: i32 = 111;

/// The tables in their maps, flows aside. `PROGRAM` tells programs apart: code that two of them
/// shared would not be made for the one or the other, and what is constant in each would be lost.
pub struct KernelTables<const PROGRAM: u8>;

/// Programs that share no code, see [`KernelTables`].
pub const XDP: u8 = 0;
/// See [`XDP`].
pub const INGRESS: u8 = 1;
/// See [`XDP`].
pub const EGRESS: u8 = 2;
/// See [`XDP`].
pub const SOCKET: u8 = 3;
/// See [`XDP`]: functions that programs share.
pub const GLOBAL: u8 = 4;

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

/// Empties a cell of counts into the total of the backend that had it, for another one. User space reads
/// totals before and after a cell, and so notices.
///
/// # Safety
/// `cell` is a value of `COUNTER_CELLS` on this CPU.
#[inline(never)]
unsafe fn hand_over(cell: *mut CounterCell, backend: u32) {
    // SAFETY: as the caller says.
    let CounterCell { backend: former, counts, .. } = unsafe { *cell };
    // SAFETY: as above.
    unsafe { *cell = CounterCell { backend, ..CounterCell::default() } };
    if let Some(total) = BACKEND_COUNTERS.get_ptr_mut(former) {
        // SAFETY: aligned words of the map, which every CPU changes by this only.
        unsafe {
            fetch_add(&raw mut (*total).packets, counts.packets);
            fetch_add(&raw mut (*total).bytes, counts.bytes);
        }
    }
}

/// Bits of a whole key of `SOURCE_RANGES`.
const RANGE_BITS: u32 = 160;

/// Adds to a word and returns what it was, in one step for all CPUs (kernel 5.12). The target has no
/// compare-and-swap, so the language's atomic types lack this too.
///
/// # Safety
/// `word` is an aligned word of a map's value.
#[inline(always)]
unsafe fn fetch_add(word: *mut u64, by: u64) -> u64 {
    let mut value = by;
    // SAFETY: the caller vouches for the word.
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({word} + 0), {value})", value = inout(reg) value, word = in(reg) word, options(nostack));
    }
    value
}

impl<const PROGRAM: u8> Tables for KernelTables<PROGRAM> {
    #[inline(always)]
    fn keep_headers<R>(&self, with: impl FnOnce(&mut Headers) -> R) -> Option<R> {
        let place = HEADERS.get_ptr_mut(0)?;
        // SAFETY: a value of this CPU's, and packet programs of one CPU do not interrupt each other.
        Some(with(unsafe { &mut *place }))
    }

    #[inline(always)]
    fn keep_plan<R>(&self, with: impl FnOnce(&mut Plan) -> R) -> Option<R> {
        let place = PLAN.get_ptr_mut(0)?;
        // SAFETY: as in `keep_headers`; whatever an earlier packet left in it is overwritten.
        Some(with(unsafe { &mut *place }))
    }

    #[inline(always)]
    fn keep_inner<R>(&self, with: impl FnOnce(&mut Inner) -> R) -> Option<R> {
        let place = INNER.get_ptr_mut(0)?;
        // SAFETY: as in `keep_headers`.
        Some(with(unsafe { &mut *place }))
    }

    #[inline(always)]
    fn start<P: Packet, F: Flows>(&self, packet: &mut P, _: &Headers, _: &F, stage: Stage) -> Started {
        let ctx = packet.context();
        let egress = u64::from(stage == Stage::Egress);
        // SAFETY: the context is that of the program that calls, whose kind its stages tell.
        let code = unsafe {
            match (P::XDP, F::WIDE) {
                (true, false) => start_xdp_v4(ctx.cast()),
                (true, true) => start_xdp_v6(ctx.cast()),
                (false, false) => start_tc_v4(ctx.cast(), egress),
                (false, true) => start_tc_v6(ctx.cast(), egress),
            }
        };
        Started::of(code)
    }

    #[inline(always)]
    fn translate<P: Room, F: Flows>(
        &self,
        packet: &mut P,
        headers: &mut Headers,
        flows: &F,
        stage: Stage,
    ) -> u64 {
        let ctx = packet.context();
        // SAFETY: as in `start`.
        unsafe {
            match (P::XDP, PROGRAM == EGRESS, F::WIDE) {
                // There the call is a part of what a packet costs.
                (true, ..) => translate_parsed(packet, headers, self, flows, stage),
                (_, false, false) => ingress_v4(ctx.cast()),
                (_, false, true) => ingress_v6(ctx.cast()),
                (_, true, false) => egress_v4(ctx.cast()),
                (_, true, true) => egress_v6(ctx.cast()),
            }
        }
    }

    #[inline(always)]
    fn attempt<F: Flows>(&self, _: &FlowKey, plan: &mut Plan, _: &F, egress: bool) -> Claim {
        // SAFETY: the key is that of the headers in their place.
        Claim::of(unsafe {
            if F::WIDE { attempt_v6(plan, u64::from(egress)) } else { attempt_v4(plan, u64::from(egress)) }
        })
    }

    #[inline(always)]
    fn icmp<P: Room, F: Flows>(&self, packet: &mut P, headers: &Headers, flows: &F, stage: Stage) -> u64 {
        let ctx = packet.context();
        // SAFETY: as in `start`.
        unsafe {
            match (P::XDP, PROGRAM == EGRESS, F::WIDE) {
                (true, ..) => translate_icmp(packet, headers, self, flows, stage),
                (_, false, false) => icmp_ingress_v4(ctx.cast()),
                (_, false, true) => icmp_ingress_v6(ctx.cast()),
                (_, true, false) => icmp_egress_v4(ctx.cast()),
                (_, true, true) => icmp_egress_v6(ctx.cast()),
            }
        }
    }

    #[inline(always)]
    fn deliver<P: Room, E: FlowEntry>(
        &self,
        packet: &mut P,
        headers: &Headers,
        flow: &E,
        stage: Stage,
        moved: bool,
    ) -> u64 {
        let (ctx, (entry, wide), moves) = (packet.context(), flow.place(), u64::from(moved));
        // SAFETY: as in `start`; the entry is one of the family's.
        unsafe {
            match (P::XDP, PROGRAM == EGRESS, wide) {
                (true, ..) => deliver(packet, headers, flow, self, stage, moved),
                (_, false, false) => deliver_ingress_v4(ctx.cast(), entry.cast(), moves),
                (_, false, true) => deliver_ingress_v6(ctx.cast(), entry.cast(), moves),
                (_, true, false) => deliver_egress_v4(ctx.cast(), entry.cast(), moves),
                (_, true, true) => deliver_egress_v6(ctx.cast(), entry.cast(), moves),
            }
        }
    }

    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn address(&self, addr: &Addr) -> u32 {
        // SAFETY: one aligned word, copied at once.
        unsafe { ADDRESSES.get(addr) }.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn in_source_ranges(&self, service: u32, client: &Addr) -> bool {
        let [a, b, c, d] = client.words();
        let data = RangeData { service, addr: [a.raw(), b.raw(), c.raw(), d.raw()] };
        SOURCE_RANGES.get(&RangeKey::new(RANGE_BITS, data)).is_some()
    }

    #[inline(always)]
    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue> {
        // SAFETY: copied at once, as in `service`.
        unsafe { AFFINITY.get(key) }.copied()
    }

    #[inline(always)]
    fn put_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        // A table that takes no entry costs the client its binding, not its connection.
        let _full = AFFINITY.insert(key, value, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        // SAFETY: copied at once, as in `service`.
        unsafe { FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn put_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        // Without the entry later fragments are counted as such and passed on.
        let _full = FRAGMENTS.insert(key, value, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn turn(&self, service: u32) -> u64 {
        let Some(turn) = TURNS.get_ptr_mut(service) else { return 0 };
        // SAFETY: an aligned word of the map, which every CPU changes by this only.
        unsafe { fetch_add(turn, 1) }
    }

    #[inline(always)]
    fn connections(&self, backend: u32) -> u64 {
        CONNECTIONS.get(backend).copied().unwrap_or(u64::MAX)
    }

    #[inline(always)]
    fn count_open(&self, backend: u32, opened: bool) {
        let Some(open) = CONNECTIONS.get_ptr_mut(backend) else { return };
        // SAFETY: as in `turn`; user space, which counts anew, stores a whole word.
        unsafe {
            if opened {
                fetch_add(open, 1);
            } else if open.read_volatile() != 0 {
                fetch_add(open, u64::MAX);
            }
        }
    }

    #[inline(always)]
    fn device(&self, ifindex: u32) -> u32 {
        // SAFETY: copied at once.
        unsafe { DEVICES.get(ifindex) }.map_or(0, |device| device.flags)
    }

    #[inline(always)]
    fn bridge(&self, ifindex: u32) -> Option<[Be16; 3]> {
        // SAFETY: copied at once.
        let device = unsafe { DEVICES.get(ifindex) }?;
        if device.flags & DEVICE_BRIDGE_PORT != 0 { Some(device.bridge) } else { None }
    }

    #[inline(always)]
    fn source(&self, ifindex: u32, v4: bool) -> Addr {
        // SAFETY: copied at once.
        let Some(device) = (unsafe { DEVICES.get(ifindex) }) else { return Addr::default() };
        if v4 { device.source_v4 } else { device.source_v6 }
    }

    #[inline(always)]
    fn route_generation(&self) -> u16 {
        ROUTE_GENERATION.get(0).map_or(0, |generation| *generation as u16)
    }

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
    fn stands_in(&self) -> bool {
        // SAFETY: the helper has no arguments.
        STAND_IN.get(0).is_some_and(|until| unsafe { bpf_ktime_get_ns() } < *until)
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
        let Some(cell) = COUNTER_CELLS.get_ptr_mut(backend % CELLS) else { return };
        // SAFETY: a per-CPU value, see `count`.
        unsafe {
            if (*cell).backend != backend {
                hand_over(cell, backend);
            }
            (*cell).counts.packets += 1;
            (*cell).counts.bytes += bytes as u64;
        }
    }

    #[inline(always)]
    fn count_connection(&self, service: u32, placed: bool) {
        if let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(service) {
            // SAFETY: as in `turn`.
            unsafe {
                let word = if placed { &raw mut (*counters).placed } else { &raw mut (*counters).refused };
                fetch_add(word, 1);
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
