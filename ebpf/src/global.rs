//! Functions that the verifier looks at once, and not once for each way that leads to them: those with a
//! symbol of their own, which take numbers and the context alone. What else they need is in per-CPU maps.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use seaway_common::Reason;
use seaway_ebpf::{
    EGRESS, Flows, FlowsV4, FlowsV6, GLOBAL, INGRESS, KernelTables, Packet, SkbPacket, Stage, Started,
    Tables, XdpPacket, start_flow, translate_parsed,
};

/// [`start_flow`] for XDP, of flows over IPv4.
///
/// # Safety
/// The context is the program's.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn start_xdp_v4(ctx: *mut xdp_md) -> u64 {
    started(&mut XdpPacket::new(&XdpContext::new(ctx)), &FlowsV4, Stage::Early)
}

/// The same over IPv6.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn start_xdp_v6(ctx: *mut xdp_md) -> u64 {
    started(&mut XdpPacket::new(&XdpContext::new(ctx)), &FlowsV6, Stage::Early)
}

/// The same for the classifiers, of flows over IPv4.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn start_tc_v4(ctx: *mut __sk_buff, egress: u64) -> u64 {
    let stage = if egress != 0 { Stage::Egress } else { Stage::Ingress };
    started(&mut SkbPacket::known(&TcContext::new(ctx)), &FlowsV4, stage)
}

/// The same over IPv6.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn start_tc_v6(ctx: *mut __sk_buff, egress: u64) -> u64 {
    let stage = if egress != 0 { Stage::Egress } else { Stage::Ingress };
    started(&mut SkbPacket::known(&TcContext::new(ctx)), &FlowsV6, stage)
}

/// With the headers that the caller left in their place.
#[inline(always)]
fn started<P: Packet, F: Flows>(packet: &mut P, flows: &F, stage: Stage) -> u64 {
    let tables = KernelTables::<GLOBAL>;
    let started = tables.keep_headers(|headers| start_flow(packet, headers, &tables, flows, stage));
    started.unwrap_or(Started::No(Reason::Inconsistent)).code()
}

/// What becomes of a packet at the ingress, of flows over IPv4.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn ingress_v4(ctx: *mut __sk_buff) -> u64 {
    translated::<_, INGRESS>(ctx, &FlowsV4, Stage::Ingress)
}

/// The same over IPv6.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn ingress_v6(ctx: *mut __sk_buff) -> u64 {
    translated::<_, INGRESS>(ctx, &FlowsV6, Stage::Ingress)
}

/// The same at the egress, over IPv4.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn egress_v4(ctx: *mut __sk_buff) -> u64 {
    translated::<_, EGRESS>(ctx, &FlowsV4, Stage::Egress)
}

/// The same at the egress, over IPv6.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn egress_v6(ctx: *mut __sk_buff) -> u64 {
    translated::<_, EGRESS>(ctx, &FlowsV6, Stage::Egress)
}

/// With the headers that the caller left in their place.
#[inline(always)]
fn translated<F: Flows, const PROGRAM: u8>(ctx: *mut __sk_buff, flows: &F, stage: Stage) -> u64 {
    let (ctx, tables) = (TcContext::new(ctx), KernelTables::<PROGRAM>);
    let mut packet = SkbPacket::known(&ctx);
    tables.keep_headers(|headers| translate_parsed(&mut packet, headers, &tables, flows, stage)).unwrap_or(0)
}
