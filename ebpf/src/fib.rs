//! The kernel's routes and neighbours, asked from a program.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_fib_lookup;
use aya_ebpf::helpers::generated;
use bytemuck::{Pod, Zeroable};
use seaway_common::{Addr, Be16, Be32, Hop, Reason};

use crate::packet::{Route, Way};

/// Set by user space before loading: the kernel says the route's source address (6.7).
#[unsafe(no_mangle)]
static HAVE_FIB_SOURCE: Global<u32> = Global::new(0);

/// `BPF_FIB_LOOKUP_SRC`
const LOOKUP_SOURCE: u32 = 1 << 4;

/// `struct bpf_fib_lookup`, with the members of its unions that are used here.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Lookup {
    family: u8,
    l4_protocol: u8,
    sport: Be16,
    dport: Be16,
    /// In: length of the packet; not 0, so that the result is filled in. Out: the way's MTU (5.13).
    mtu: u16,
    ifindex: u32,
    tos: u32,
    src: [Be32; 4],
    dst: [Be32; 4],
    vlan: u32,
    source: [Be16; 3],
    destination: [Be16; 3],
}

const _: () = assert!(size_of::<Lookup>() == 64 && size_of::<Lookup>() == size_of::<bpf_fib_lookup>());

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `BPF_FIB_LKUP_RET_*`.
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const NO_NEIGHBOUR: i64 = 7;
const TOO_LONG: i64 = 8;

/// Asks for the way of a packet that came by the interface `ingress`.
///
/// Not inlined: it is rare, and its stack shall not be that of the program.
///
/// # Errors
/// [`Reason::NoRoute`] when there is none, or forwarding is off on that interface.
#[inline(never)]
pub(crate) fn look_up(ctx: *mut c_void, ingress: u32, route: &Route, way: &mut Way) -> Result<(), Reason> {
    let v4 = route.dst.is_v4();
    // Field by field: a value that is built and then moved takes its room on the stack twice.
    let mut lookup = Lookup::zeroed();
    lookup.l4_protocol = route.proto;
    lookup.mtu = 1;
    lookup.ifindex = ingress;
    if v4 {
        lookup.family = AF_INET;
        lookup.src[0] = route.src.last_word();
        lookup.dst[0] = route.dst.last_word();
    } else {
        lookup.family = AF_INET6;
        lookup.src = route.src.words();
        lookup.dst = route.dst.words();
    }
    let params = (&raw mut lookup).cast::<bpf_fib_lookup>();
    let flags = if route.wants_source && HAVE_FIB_SOURCE.load() != 0 { LOOKUP_SOURCE } else { 0 };
    // SAFETY: the helper takes the program's own context, and reads and writes 64 bytes of ours.
    let result = unsafe { generated::bpf_fib_lookup(ctx, params, size_of::<Lookup>() as i32, flags) };
    *way = Way::default();
    match result {
        SUCCESS | TOO_LONG | NO_NEIGHBOUR => {
            way.ifindex = lookup.ifindex;
            way.mtu = if lookup.mtu == 1 { 0 } else { lookup.mtu };
            if result == SUCCESS {
                let [a, b, c] = lookup.destination;
                let [d, e, f] = lookup.source;
                way.hop = Hop { ifindex: lookup.ifindex, addresses: bytemuck::must_cast([a, b, c, d, e, f]) };
            }
            if flags != 0 {
                way.source = if v4 { Addr::v4(lookup.src[0]) } else { Addr::v6(lookup.src) };
            }
            Ok(())
        }
        NOT_FORWARDED => Ok(()),
        _ => Err(Reason::NoRoute),
    }
}
