//! Entry points of the kernel programs, and nothing else.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "sections and symbols are placed by name"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod global;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
    use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
    use aya_ebpf::helpers::generated::{bpf_redirect, bpf_redirect_neigh};
    use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, classifier, xdp};
    use aya_ebpf::programs::{SockAddrContext, SockContext, TcContext, XdpContext};
    use seaway_common::{Action, Reason};
    use seaway_ebpf::{
        Answer, EGRESS, FlowsV4, FlowsV6, INGRESS, KernelTables, SOCKET, SkbPacket, SockAddr4, SockAddr6,
        Stage, Verdict, XDP, XdpPacket, answer, count, hold, refuse, release, released, socket, translate,
        vouch_for_address,
    };

    /// `BPF_F_INGRESS`: the packet arrives by the interface instead of leaving by it.
    const INGRESS_FLAG: u64 = 1;

    /// What the cgroup hooks return to let a call go on.
    const PROCEED: i32 = 1;

    #[xdp(frags)]
    fn xdp_lb(ctx: XdpContext) -> u32 {
        match translate(&mut XdpPacket::new(&ctx), &KernelTables::<XDP>, &FlowsV4, &FlowsV6, Stage::Early) {
            // Not by XDP_TX where it goes back by the interface that it came from: veth leaves such a
            // packet lying with a peer that has no XDP program, until another one comes.
            // SAFETY: the helper takes numbers.
            Ok(Verdict::Transmit(ifindex)) => unsafe { bpf_redirect(ifindex, 0) as u32 },
            Ok(_) => XDP_PASS,
            // What is answered or passed is counted where that happens.
            Err(reason) if reason.action() != Action::Drop || left(reason) => XDP_PASS,
            Err(reason) => {
                count(reason);
                XDP_DROP
            }
        }
    }

    /// What the program at the ingress may still make something of.
    #[inline(always)]
    fn left(reason: Reason) -> bool {
        matches!(reason, Reason::NoRoute | Reason::TooBig)
    }

    #[classifier]
    fn tc_ingress(ctx: TcContext) -> i32 {
        let mut packet = SkbPacket::new(&ctx);
        match translate(&mut packet, &KernelTables::<INGRESS>, &FlowsV4, &FlowsV6, Stage::Ingress) {
            Ok(Verdict::NotOurs | Verdict::Translated) => TC_ACT_UNSPEC,
            Ok(Verdict::Transmit(ifindex)) => {
                packet.untag();
                // SAFETY: the helper takes numbers.
                unsafe { bpf_redirect(ifindex, 0) as i32 }
            }
            Ok(Verdict::Resolve(ifindex)) => {
                packet.untag();
                // SAFETY: without parameters the helper looks the neighbour up itself.
                unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
            }
            // SAFETY: the helper takes numbers.
            Ok(Verdict::Arrive(ifindex)) => unsafe { bpf_redirect(ifindex, INGRESS_FLAG) as i32 },
            Ok(Verdict::TooBig(mtu)) => {
                count(Reason::TooBig);
                send_back(&ctx, &mut packet, Answer::TooBig, mtu, 0)
            }
            Ok(Verdict::Echo) => send_back(&ctx, &mut packet, Answer::Echo, 0, 0),
            Ok(Verdict::Expired) => send_back(&ctx, &mut packet, Answer::TimeExceeded, 0, 0),
            Ok(Verdict::Hold) if hold(&ctx, &KernelTables::<INGRESS>) => TC_ACT_SHOT,
            Ok(Verdict::Hold) => {
                count(Reason::Fragment);
                TC_ACT_UNSPEC
            }
            Ok(Verdict::Release) => {
                release(&ctx, &KernelTables::<INGRESS>);
                TC_ACT_SHOT
            }
            Err(reason) => {
                count(reason);
                match reason.action() {
                    Action::Pass => TC_ACT_UNSPEC,
                    Action::Drop => TC_ACT_SHOT,
                    Action::Refuse => send_back(&ctx, &mut packet, Answer::Refused, 0, 0),
                }
            }
        }
    }

    #[classifier]
    fn tc_egress(ctx: TcContext) -> i32 {
        let mut packet = SkbPacket::new(&ctx);
        if let Ok(true) = vouch_for_address(&mut packet, &KernelTables::<EGRESS>) {
            // SAFETY: the context is valid for the run of the program; the helper takes numbers.
            return unsafe { bpf_redirect((*ctx.as_ptr().cast::<__sk_buff>()).ifindex, INGRESS_FLAG) as i32 };
        }
        match translate(&mut packet, &KernelTables::<EGRESS>, &FlowsV4, &FlowsV6, Stage::Egress) {
            // SAFETY: the helper takes numbers.
            Ok(Verdict::Transmit(ifindex)) => unsafe { bpf_redirect(ifindex, 0) as i32 },
            Ok(Verdict::Resolve(ifindex)) => {
                // SAFETY: without parameters the helper looks the neighbour up itself.
                unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as i32 }
            }
            Ok(Verdict::TooBig(mtu)) => {
                count(Reason::TooBig);
                send_back(&ctx, &mut packet, Answer::TooBig, mtu, INGRESS_FLAG)
            }
            Ok(_) => TC_ACT_UNSPEC,
            Err(reason) => {
                count(reason);
                match reason.action() {
                    Action::Pass => TC_ACT_UNSPEC,
                    Action::Drop => TC_ACT_SHOT,
                    // The sender is this node, or behind it: the stack takes the answer there.
                    Action::Refuse => send_back(&ctx, &mut packet, Answer::Refused, 0, INGRESS_FLAG),
                }
            }
        }
    }

    /// Answers the sender by the interface that the packet came from.
    #[inline(always)]
    fn send_back(ctx: &TcContext, packet: &mut SkbPacket<'_>, what: Answer, mtu: u16, flags: u64) -> i32 {
        let stage = if flags == INGRESS_FLAG { Stage::Egress } else { Stage::Ingress };
        if let Err(reason) = answer(packet, &KernelTables::<INGRESS>, what, mtu, stage) {
            if reason == Reason::Limited {
                count(reason);
            }
            return TC_ACT_SHOT;
        }
        // SAFETY: the context is valid for the run of the program; the helper takes numbers.
        unsafe { bpf_redirect((*ctx.as_ptr().cast::<__sk_buff>()).ifindex, flags) as i32 }
    }

    #[cgroup_sock_addr(connect4)]
    fn sock_connect4(ctx: SockAddrContext) -> i32 {
        to_hook(socket::connect(&mut SockAddr4(ctx), &KernelTables::<SOCKET>))
    }

    #[cgroup_sock_addr(connect6)]
    fn sock_connect6(ctx: SockAddrContext) -> i32 {
        to_hook(socket::connect(&mut SockAddr6(ctx), &KernelTables::<SOCKET>))
    }

    #[cgroup_sock_addr(sendmsg4)]
    fn sock_sendmsg4(ctx: SockAddrContext) -> i32 {
        to_hook(socket::sendmsg(&mut SockAddr4(ctx), &KernelTables::<SOCKET>))
    }

    #[cgroup_sock_addr(sendmsg6)]
    fn sock_sendmsg6(ctx: SockAddrContext) -> i32 {
        to_hook(socket::sendmsg(&mut SockAddr6(ctx), &KernelTables::<SOCKET>))
    }

    #[cgroup_sock_addr(recvmsg4)]
    fn sock_recvmsg4(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr4(ctx), &KernelTables::<SOCKET>);
        PROCEED
    }

    #[cgroup_sock_addr(recvmsg6)]
    fn sock_recvmsg6(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr6(ctx), &KernelTables::<SOCKET>);
        PROCEED
    }

    #[cgroup_sock_addr(getpeername4)]
    fn sock_getpeername4(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr4(ctx), &KernelTables::<SOCKET>);
        PROCEED
    }

    #[cgroup_sock_addr(getpeername6)]
    fn sock_getpeername6(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr6(ctx), &KernelTables::<SOCKET>);
        PROCEED
    }

    #[cgroup_sock(sock_release)]
    fn sock_release(ctx: SockContext) -> i32 {
        socket::release(released(&ctx), &KernelTables::<SOCKET>);
        PROCEED
    }

    /// From the logic's result to the hook's.
    #[inline(always)]
    fn to_hook(result: Result<(), Reason>) -> i32 {
        match result {
            Ok(()) => PROCEED,
            // Its packets keep the service's address, and are dropped and counted on their way.
            Err(reason) if reason.action() == Action::Drop => PROCEED,
            Err(reason) => {
                count(reason);
                if reason.action() == Action::Refuse { refuse() } else { PROCEED }
            }
        }
    }

    /// The kernel object's licence. Helpers that need it are GPL-only.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo) -> ! {
        loop {}
    }
}
