//! Functions that the verifier looks at once, and not once for each way that leads to them: those with a
//! symbol of their own, which take numbers and the context alone. What else they need is in per-CPU maps.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use seaway_common::{FlowValue, FlowValueV4, Reason};
use seaway_ebpf::{
    Claim, EGRESS, FlowV4, FlowV6, Flows, FlowsV4, FlowsV6, GLOBAL, INGRESS, KernelTables, Packet, Plan,
    SkbPacket, Stage, Started, Tables, XdpPacket, attempt, deliver, start_flow, translate_icmp,
    translate_parsed,
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

/// [`attempt`] of flows over IPv4.
///
/// # Safety
/// The plan is the program's, which left the headers in their place.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn attempt_v4(plan: *mut Plan, egress: u64) -> u64 {
    // SAFETY: the caller vouches for the plan.
    unsafe { attempted(plan, &FlowsV4, egress) }
}

/// The same over IPv6.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn attempt_v6(plan: *mut Plan, egress: u64) -> u64 {
    // SAFETY: as above.
    unsafe { attempted(plan, &FlowsV6, egress) }
}

/// # Safety
/// As above.
#[inline(always)]
unsafe fn attempted<F: Flows>(plan: *mut Plan, flows: &F, egress: u64) -> u64 {
    if plan.is_null() {
        return Claim::No(Reason::Inconsistent).code();
    }
    // SAFETY: the caller's, which does not use it meanwhile.
    let plan = unsafe { &mut *plan };
    let tables = KernelTables::<GLOBAL>;
    tables
        .keep_headers(|headers| attempt(headers.key(), plan, &tables, flows, egress != 0))
        .unwrap_or(Claim::No(Reason::Inconsistent))
        .code()
}

/// Functions of the classifiers: one for each way of an interface and each form of the flow maps.
macro_rules! classifiers {
    ($program:ident, $stage:ident, $flows:ident, $entry:ident, $value:ident, $translate:ident, $icmp:ident, $deliver:ident) => {
        /// [`translate_parsed`] of one way and form.
        ///
        /// # Safety
        /// The context is the program's, which left the headers in their place.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $translate(ctx: *mut __sk_buff) -> u64 {
            let (ctx, tables) = (TcContext::new(ctx), KernelTables::<$program>);
            let mut packet = SkbPacket::known(&ctx);
            tables
                .keep_headers(|headers| {
                    translate_parsed(&mut packet, headers, &tables, &$flows, Stage::$stage)
                })
                .unwrap_or(0)
        }

        /// [`translate_icmp`] of one way and form.
        ///
        /// # Safety
        /// As above.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $icmp(ctx: *mut __sk_buff) -> u64 {
            let (ctx, tables) = (TcContext::new(ctx), KernelTables::<$program>);
            let mut packet = SkbPacket::known(&ctx);
            tables
                .keep_headers(|headers| translate_icmp(&mut packet, headers, &tables, &$flows, Stage::$stage))
                .unwrap_or(0)
        }

        /// [`deliver`] of one way and form.
        ///
        /// # Safety
        /// As above; the entry is the packet's.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $deliver(ctx: *mut __sk_buff, entry: *mut $value, moved: u64) -> u64 {
            if entry.is_null() {
                return 0;
            }
            let (ctx, tables) = (TcContext::new(ctx), KernelTables::<$program>);
            let (mut packet, flow) = (SkbPacket::known(&ctx), $entry(entry));
            tables
                .keep_headers(|headers| {
                    deliver(&mut packet, headers, &flow, &tables, Stage::$stage, moved != 0)
                })
                .unwrap_or(0)
        }
    };
}

classifiers!(INGRESS, Ingress, FlowsV4, FlowV4, FlowValueV4, ingress_v4, icmp_ingress_v4, deliver_ingress_v4);
classifiers!(INGRESS, Ingress, FlowsV6, FlowV6, FlowValue, ingress_v6, icmp_ingress_v6, deliver_ingress_v6);
classifiers!(EGRESS, Egress, FlowsV4, FlowV4, FlowValueV4, egress_v4, icmp_egress_v4, deliver_egress_v4);
classifiers!(EGRESS, Egress, FlowsV6, FlowV6, FlowValue, egress_v6, icmp_egress_v6, deliver_egress_v6);
