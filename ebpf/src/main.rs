//! Entry points of the kernel programs, and nothing else.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "sections and symbols are placed by name"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::TC_ACT_UNSPEC;
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
    use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, classifier, xdp};
    use aya_ebpf::programs::{SockAddrContext, SockContext, TcContext, XdpContext};
    use seaway_common::{Action, Reason};
    use seaway_ebpf::{
        FlowsV4, FlowsV6, KernelTables, SockAddr4, SockAddr6, Verdict, XdpPacket, cookie_of, count, refuse,
        socket, translate,
    };

    /// What the cgroup hooks return to let a call go on.
    const PROCEED: i32 = 1;

    #[xdp]
    fn xdp_lb(ctx: XdpContext) -> u32 {
        match translate(&mut XdpPacket::new(&ctx), &KernelTables, &FlowsV4, &FlowsV6) {
            Ok(Verdict::NotOurs | Verdict::Translated) => XDP_PASS,
            Err(reason) => {
                count(reason);
                if reason.action() == Action::Pass { XDP_PASS } else { XDP_DROP }
            }
        }
    }

    #[classifier]
    fn tc_ingress(_ctx: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    #[classifier]
    fn tc_egress(_ctx: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    #[cgroup_sock_addr(connect4)]
    fn sock_connect4(ctx: SockAddrContext) -> i32 {
        answer(socket::connect(&mut SockAddr4(ctx), &KernelTables))
    }

    #[cgroup_sock_addr(connect6)]
    fn sock_connect6(ctx: SockAddrContext) -> i32 {
        answer(socket::connect(&mut SockAddr6(ctx), &KernelTables))
    }

    #[cgroup_sock_addr(sendmsg4)]
    fn sock_sendmsg4(ctx: SockAddrContext) -> i32 {
        answer(socket::sendmsg(&mut SockAddr4(ctx), &KernelTables))
    }

    #[cgroup_sock_addr(sendmsg6)]
    fn sock_sendmsg6(ctx: SockAddrContext) -> i32 {
        answer(socket::sendmsg(&mut SockAddr6(ctx), &KernelTables))
    }

    #[cgroup_sock_addr(recvmsg4)]
    fn sock_recvmsg4(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr4(ctx), &KernelTables);
        PROCEED
    }

    #[cgroup_sock_addr(recvmsg6)]
    fn sock_recvmsg6(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr6(ctx), &KernelTables);
        PROCEED
    }

    #[cgroup_sock_addr(getpeername4)]
    fn sock_getpeername4(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr4(ctx), &KernelTables);
        PROCEED
    }

    #[cgroup_sock_addr(getpeername6)]
    fn sock_getpeername6(ctx: SockAddrContext) -> i32 {
        socket::restore(&mut SockAddr6(ctx), &KernelTables);
        PROCEED
    }

    #[cgroup_sock(sock_release)]
    fn sock_release(ctx: SockContext) -> i32 {
        socket::release(cookie_of(&ctx), &KernelTables);
        PROCEED
    }

    /// From the logic's result to the hook's.
    #[inline(always)]
    fn answer(result: Result<(), Reason>) -> i32 {
        match result {
            Ok(()) => PROCEED,
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
