//! A packet as XDP sees it.

use aya_ebpf::EbpfContext;
use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use bytemuck::Pod;
use seaway_common::Reason;

use crate::headers::ETHERNET_LEN;
use crate::packet::{Room, Route, Way};
use crate::{Packet, fib, tunnel, word};

/// Whether the kernel gives XDP packets in several buffers, of which the first can be read (5.18).
#[unsafe(no_mangle)]
static HAVE_XDP_FRAGS: Global<u32> = Global::new(0);

/// The bytes between `data` and `data_end`.
pub struct XdpPacket<'a> {
    ctx: &'a XdpContext,
}

impl<'a> XdpPacket<'a> {
    /// The packet of this context.
    #[inline(always)]
    pub const fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// The one place where packet memory is reached: a pointer to `offset`, if `len` bytes lie
    /// between it and the end of the packet.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, Reason> {
        let start = self.ctx.data() + offset;
        if start + len > self.ctx.data_end() {
            return Err(Reason::Truncated);
        }
        Ok(start as *mut u8)
    }
}

impl Packet for XdpPacket<'_> {
    const XDP: bool = true;

    #[inline(always)]
    fn context(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr()
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn whole_len(&self) -> usize {
        if HAVE_XDP_FRAGS.load() == 0 {
            return self.len();
        }
        // SAFETY: the helper takes the program's own context.
        unsafe { bpf_xdp_get_buff_len(self.ctx.ctx) as usize }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid for the run of the program.
        unsafe { (*self.ctx.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn next_hop(&mut self, route: &Route, way: &mut Way) -> Result<(), Reason> {
        let ingress = self.ifindex();
        fib::look_up(self.ctx.as_ptr(), ingress, route, way)
    }

    #[inline(always)]
    fn read<T: Pod>(&self, offset: usize) -> Result<T, Reason> {
        let source = self.at(offset, size_of::<T>())?;
        // SAFETY: `at` checked that the bytes lie in the packet. Packets start at even addresses,
        // and what is read in halves of words lies at even offsets.
        Ok(unsafe { word::load(source) })
    }

    #[inline(always)]
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let target = self.at(offset, size_of::<T>())?;
        // SAFETY: as in `read`; the packet is this CPU's alone.
        unsafe { word::store(target, &value) };
        Ok(())
    }
}

impl Room for XdpPacket<'_> {
    #[inline(always)]
    fn set_len(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: the helper takes the program's own context.
        let result = unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, len as i32 - self.len() as i32) };
        if result == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    /// At the front: the link header moves.
    #[inline(always)]
    fn make_room(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: as above.
        if unsafe { bpf_xdp_adjust_head(self.ctx.ctx, -(len as i32)) } != 0 {
            return Err(Reason::Truncated);
        }
        let link: [u16; ETHERNET_LEN / 2] = self.read(len)?;
        self.write(0, link)
    }

    /// Never: XDP leaves packets that change their family to the program after it.
    #[inline(always)]
    fn change_family(&mut self, _v4: bool) -> Result<(), Reason> {
        Err(Reason::Unfollowed)
    }

    #[inline(always)]
    fn wrap(&mut self, v4: bool) -> Result<(), Reason> {
        self.make_room(tunnel::overhead(v4))
    }
}
