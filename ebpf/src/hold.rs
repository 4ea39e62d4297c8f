//! Holding fragments that come before their first one, as bytes in a map, and sending them in again behind
//! it. Whatever the packet's further way is, it is the one of a datagram in order.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, BPF_ANY, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::generated::{
    bpf_clone_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use seaway_common::{FRAGMENT_HELD, FragmentValue, HeldKey};

use crate::Tables;
use crate::fragment::{empty, is_young, key_of};
use crate::maps::{HEADERS, HELD, HELD_COPY};
use crate::packet::opaque;

/// Fragments of one datagram that are held at most: all but the first of the longest one.
const HELD_MAX: u8 = 64;
/// Longest frame that is held, a mask too.
const LEN_MAX: usize = 0x7ff;

/// A fragment. 2,064 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct HeldValue {
    /// When it came, in kernel ticks.
    seen: u64,
    /// Bytes in use.
    len: u64,
    bytes: [u8; LEN_MAX + 1],
}

/// Keeps the packet, whose headers were read last on this CPU. Says whether it did.
#[inline(never)]
pub fn hold<T: Tables>(ctx: &TcContext, tables: &T) -> bool {
    let (Some(headers), Some(copy)) = (HEADERS.get_ptr_mut(0), HELD_COPY.get_ptr_mut(0)) else {
        return false;
    };
    // SAFETY: a value of this CPU's, and packet programs of one CPU do not interrupt each other.
    let datagram = key_of(unsafe { &*headers });
    let held = |value: &FragmentValue| value.state == FRAGMENT_HELD && is_young(value.seen, tables);
    let mut value = tables.fragment(&datagram).filter(held).unwrap_or_else(|| empty(tables));
    let whole = ctx.len() as usize;
    if value.held >= HELD_MAX || whole > LEN_MAX {
        return false;
    }
    let len = opaque(whole) & LEN_MAX;
    if len == 0 {
        return false;
    }
    // SAFETY: as above; the helper writes at most as many bytes as there are.
    let read = unsafe {
        (*copy).seen = tables.now();
        (*copy).len = len as u64;
        bpf_skb_load_bytes(ctx.as_ptr().cast(), 0, (&raw mut (*copy).bytes).cast(), len as u32)
    };
    let key = HeldKey { datagram, index: value.held.into(), _pad: 0 };
    // SAFETY: as above.
    if read != 0 || HELD.insert(key, unsafe { &*copy }, u64::from(BPF_ANY)).is_err() {
        return false;
    }
    value.state = FRAGMENT_HELD;
    value.held += 1;
    tables.put_fragment(&datagram, &value);
    true
}

/// Sends a first fragment in again by the interface that it came from, and behind it all that was held for
/// it. The packet itself is to be dropped.
#[inline(never)]
pub fn release<T: Tables>(ctx: &TcContext, tables: &T) {
    let Some(headers) = HEADERS.get_ptr_mut(0) else { return };
    // SAFETY: as in `hold`.
    let datagram = key_of(unsafe { &*headers });
    let count = tables.fragment(&datagram).map_or(0, |value| value.held);
    // What comes before the first one is through is held as well.
    tables.put_fragment(&datagram, &FragmentValue { state: FRAGMENT_HELD, ..empty(tables) });
    send_in(ctx);
    let mut key = HeldKey { datagram, index: 0, _pad: 0 };
    while key.index < u32::from(HELD_MAX) && key.index < u32::from(count) {
        if let Some(held) = HELD.get_ptr(key) {
            // SAFETY: elements stay readable until the program ends; this datagram's are written by whoever
            // receives it, and a torn one fails its checksum.
            unsafe { put(ctx, &*held, tables) };
            // The only failure is that the LRU took the entry first, which is as good.
            let _gone = HELD.remove(key);
        }
        key.index += 1;
    }
}

/// Makes the packet into one that was held, and sends that in.
#[inline(always)]
fn put<T: Tables>(ctx: &TcContext, held: &HeldValue, tables: &T) {
    let len = opaque(held.len as usize) & LEN_MAX;
    if len == 0 || !is_young(held.seen, tables) {
        return;
    }
    let (skb, flags) = (ctx.as_ptr().cast(), u64::from(BPF_F_RECOMPUTE_CSUM));
    // SAFETY: the helpers take the program's own context, and read as many bytes as there are.
    let failed = unsafe {
        bpf_skb_change_tail(skb, len as u32, 0) != 0
            || bpf_skb_store_bytes(skb, 0, (&raw const held.bytes).cast(), len as u32, flags) != 0
    };
    if !failed {
        send_in(ctx);
    }
}

#[inline(always)]
fn send_in(ctx: &TcContext) {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: the context is valid for the run of the program. A copy that cannot be made is lost, as on a wire.
    unsafe { bpf_clone_redirect(skb, (*skb).ifindex, u64::from(BPF_F_INGRESS)) };
}
