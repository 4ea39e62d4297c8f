//! The benchmarks' packet feeder: it makes every run of `BPF_PROG_TEST_RUN` see a fresh packet.
//!
//! The kernel repeats a program on one buffer, and the load balancer rewrites that buffer. The
//! feeder restores the headers, moves on to the next flow and tail-calls the program under test;
//! with `feed_null` as that program, what is measured is the harness itself. Live frames go out by an
//! interface instead, and `sink` counts them where they arrive.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "sections and symbols are placed by name"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
    use aya_ebpf::helpers::generated::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_get_buff_len};
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
    use aya_ebpf::programs::XdpContext;
    use seaway_common::{Be16, FEED_BYTES, FeedConfig, Reason};
    use seaway_ebpf::{Packet, XdpPacket};

    #[map]
    static FEED: Array<FeedConfig> = Array::with_max_entries(1, 0);

    #[map]
    static NEXT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

    #[map]
    static ARRIVED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

    #[xdp]
    fn feed(ctx: XdpContext) -> u32 {
        if restore(&ctx).is_ok() {
            // SAFETY: the only index of the map; a missing program falls through to the abort.
            let _missing = unsafe { TARGET.tail_call(&ctx, 0) };
        }
        XDP_ABORTED
    }

    /// For live frames.
    #[xdp]
    fn feed_out(ctx: XdpContext) -> u32 {
        let sent = restore(&ctx).ok().and_then(|()| FEED.get(0));
        match sent {
            // SAFETY: the helper takes numbers.
            Some(config) => unsafe { bpf_redirect(config.ifindex, 0) as u32 },
            None => XDP_ABORTED,
        }
    }

    /// Where packets end.
    #[xdp]
    fn sink(_ctx: XdpContext) -> u32 {
        if let Some(arrived) = ARRIVED.get_ptr_mut(0) {
            // SAFETY: a per-CPU value, and programs at interfaces do not interrupt each other.
            unsafe { *arrived += 1 };
        }
        XDP_DROP
    }

    #[xdp]
    fn feed_null(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[inline(always)]
    fn restore(ctx: &XdpContext) -> Result<(), Reason> {
        let config = FEED.get(0).ok_or(Reason::Inconsistent)?;
        let next = NEXT.get_ptr_mut(0).ok_or(Reason::Inconsistent)?;
        // SAFETY: a per-CPU value; test runs do not nest.
        let number = unsafe { *next };
        let following = if number + 1 < config.flows { number + 1 } else { 0 };
        // SAFETY: as above.
        unsafe { *next = following };
        let flow = config.first + number;
        if config.length != 0 {
            // SAFETY: the helpers take the program's own context.
            let failed = unsafe {
                let longer = bpf_xdp_get_buff_len(ctx.ctx) as i32 - config.length as i32;
                bpf_xdp_adjust_head(ctx.ctx, longer)
            };
            if failed != 0 {
                return Err(Reason::Truncated);
            }
        }
        let packet = &mut XdpPacket::new(ctx);
        packet.write(0, config.template)?;
        shift(packet, config.port_offset, flow)?;
        shift(packet, config.addr_offset, flow >> 16)
    }

    /// Adds the low sixteen bits of `by` to the number at `offset`.
    #[inline(always)]
    fn shift(packet: &mut XdpPacket<'_>, offset: u32, by: u32) -> Result<(), Reason> {
        // The mask bounds the offset for the verifier.
        let offset = (offset & 0x3f) as usize;
        const { assert!(FEED_BYTES > 0x3f + 2) };
        let value: Be16 = packet.read(offset)?;
        packet.write(offset, Be16::new(value.get().wrapping_add(by as u16)))
    }

    /// As of the load balancer's object.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo) -> ! {
        loop {}
    }
}
