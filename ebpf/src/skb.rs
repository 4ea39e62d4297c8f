//! A packet as the classifiers at an interface's ingress and egress see it.

use core::arch::asm;
use core::mem::offset_of;

use aya_ebpf::EbpfContext;
use aya_ebpf::Global;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_MARK_MANGLED_0,
    BPF_F_PSEUDO_HDR,
};
use aya_ebpf::helpers::generated::{
    bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_proto, bpf_skb_change_tail, bpf_skb_pull_data,
    bpf_skb_store_bytes, bpf_skb_vlan_pop,
};
use aya_ebpf::programs::TcContext;
use bytemuck::Pod;
use seaway_common::Reason;

use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::packet::{Change, Room, Route, Way};
use crate::sock_addr::cookie_of;
use crate::{Packet, fib, tunnel, word};

/// Set by user space before loading: the kernel tells IPv6 checksums apart (6.16). Before, a sum
/// that the card computed over an IPv6 packet is computed again by the stack.
#[unsafe(no_mangle)]
static HAVE_CHECKSUM_V6: Global<u32> = Global::new(0);

/// `BPF_F_IPV6` of kernel 6.16.
const IPV6: u64 = 1 << 7;
/// Behind the link header and without flags (`enum bpf_adj_room_mode`).
const ROOM_MAC: u32 = 1;
/// Headers are pulled into the linear part up to here: tags, the longest IPv4 header or a few
/// extension headers, and a transport header.
const HEADERS: u32 = 144;
/// What `tc_index` says of a packet that a program of ours translated. Neither netfilter nor routing looks
/// at the field, as they do at marks.
const TRANSLATED: u32 = 0x5ea1;
/// Tags that are taken off.
const TAGS_MAX: u32 = 2;

/// A socket buffer.
pub struct SkbPacket<'a> {
    ctx: &'a TcContext,
}

impl<'a> SkbPacket<'a> {
    /// The packet of this context, its headers in one piece.
    #[inline(always)]
    pub fn new(ctx: &'a TcContext) -> Self {
        let linear = data_end(ctx) - data(ctx);
        let len = ctx.len();
        let wanted = if len < HEADERS { len } else { HEADERS };
        if linear < wanted as usize {
            // SAFETY: the helper takes the program's own context. When it fails, reads do too.
            unsafe { bpf_skb_pull_data(ctx.as_ptr().cast(), wanted) };
        }
        Self { ctx }
    }

    /// The same packet once more.
    #[inline(always)]
    pub const fn known(ctx: &'a TcContext) -> Self {
        Self { ctx }
    }

    /// Takes the tags off that the frame came with: it leaves by another interface.
    #[inline(always)]
    pub fn untag(&mut self) {
        let mut tags = 0;
        while tags < TAGS_MAX && (self.field(|skb| unsafe { (*skb).vlan_present }) != 0) {
            tags += 1;
            // SAFETY: the helper takes the program's own context.
            unsafe { bpf_skb_vlan_pop(self.ctx.as_ptr().cast()) };
        }
    }

    #[inline(always)]
    fn field(&self, get: impl Fn(*mut __sk_buff) -> u32) -> u32 {
        get(self.ctx.as_ptr().cast())
    }

    /// Makes room behind the link header.
    #[inline(always)]
    fn adjust(&mut self, len: usize, flags: u64) -> Result<(), Reason> {
        // SAFETY: the helper takes the program's own context.
        let result = unsafe { bpf_skb_adjust_room(self.ctx.as_ptr().cast(), len as i32, ROOM_MAC, flags) };
        if result != 0 {
            return Err(Reason::Truncated);
        }
        // What follows is read at once: into the linear part with it.
        let (len, ctx) = (self.ctx.len(), self.ctx.as_ptr().cast());
        // SAFETY: as above.
        unsafe { bpf_skb_pull_data(ctx, if len < HEADERS { len } else { HEADERS }) };
        Ok(())
    }

    /// The one place where packet memory is reached, as in XDP.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, Reason> {
        let start = data(self.ctx) + offset;
        if start + len > data_end(self.ctx) {
            return Err(Reason::Truncated);
        }
        Ok(start as *mut u8)
    }
}

/// Where the linear part starts. The field is 32 bits wide to the compiler and a pointer to the
/// verifier: kept in a whole register by hand, it stays one when it is spilled. It changes with
/// every helper that makes room, so it is read each time.
#[inline(always)]
fn data(ctx: &TcContext) -> usize {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let data: usize;
    // SAFETY: a load of the context's field `data`.
    unsafe {
        asm!("{data} = *(u32 *)({skb} + 76)", data = out(reg) data, skb = in(reg) skb, options(nostack))
    };
    data
}

/// Where it ends, as [`data`].
#[inline(always)]
fn data_end(ctx: &TcContext) -> usize {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let end: usize;
    // SAFETY: a load of the context's field `data_end`.
    unsafe { asm!("{end} = *(u32 *)({skb} + 80)", end = out(reg) end, skb = in(reg) skb, options(nostack)) };
    end
}

const _: () = assert!(offset_of!(__sk_buff, data) == 76 && offset_of!(__sk_buff, data_end) == 80);

impl Packet for SkbPacket<'_> {
    const XDP: bool = false;

    #[inline(always)]
    fn context(&self) -> *mut core::ffi::c_void {
        self.ctx.as_ptr()
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.ctx.len() as usize
    }

    #[inline(always)]
    fn segment_len(&self) -> usize {
        // SAFETY: the context is valid for the run of the program.
        self.field(|skb| unsafe { (*skb).gso_size }) as usize
    }

    #[inline(always)]
    fn read<T: Pod>(&self, offset: usize) -> Result<T, Reason> {
        let source = self.at(offset, size_of::<T>())?;
        // SAFETY: `at` checked that the bytes lie in the packet; offsets and alignment as in XDP.
        Ok(unsafe { word::load(source) })
    }

    /// By a helper, which makes a buffer that is shared our own first; only packets that are
    /// changed pay for that.
    #[inline(always)]
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let from = (&raw const value).cast();
        // SAFETY: the helper reads the value's bytes and checks the offset.
        let result = unsafe {
            bpf_skb_store_bytes(self.ctx.as_ptr().cast(), offset as u32, from, size_of::<T>() as u32, 0)
        };
        if result == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    /// By the helper, which knows what the card still computes (`CHECKSUM_PARTIAL`) and what it has
    /// computed already (`CHECKSUM_COMPLETE`).
    #[inline(always)]
    fn update_checksum(&mut self, offset: usize, change: &Change) -> Result<(), Reason> {
        let udp = if change.optional { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let v6 = if change.v6 && HAVE_CHECKSUM_V6.load() != 0 { IPV6 } else { 0 };
        let (skb, at) = (self.ctx.as_ptr().cast(), offset as u32);
        let ports = change.all.and(change.addresses.negated());
        let (addresses, ports) = (u64::from(change.addresses.raw()), u64::from(ports.raw()));
        // SAFETY: the helper takes the program's own context and checks the offset.
        let result = unsafe {
            let pseudo = u64::from(BPF_F_PSEUDO_HDR);
            bpf_l4_csum_replace(skb, at, 0, addresses, pseudo | udp | v6)
                | bpf_l4_csum_replace(skb, at, 0, ports, udp)
        };
        if result == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid for the run of the program.
        self.field(|skb| unsafe { (*skb).ifindex })
    }

    #[inline(always)]
    fn socket_cookie(&self) -> u64 {
        cookie_of(self.ctx)
    }

    #[inline(always)]
    fn is_translated(&self) -> bool {
        // SAFETY: as above.
        self.field(|skb| unsafe { (*skb).tc_index }) == TRANSLATED
    }

    #[inline(always)]
    fn note_translated(&mut self, translated: bool) {
        let skb: *mut __sk_buff = self.ctx.as_ptr().cast();
        // SAFETY: as above; the field may be written.
        unsafe { (*skb).tc_index = if translated { TRANSLATED } else { 0 } };
    }

    #[inline(always)]
    fn next_hop(&mut self, route: &Route, way: &mut Way) -> Result<(), Reason> {
        let ingress = self.ifindex();
        fib::look_up(self.ctx.as_ptr(), ingress, route, way)
    }
}

impl Room for SkbPacket<'_> {
    #[inline(always)]
    fn set_len(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: the helper takes the program's own context.
        let result = unsafe { bpf_skb_change_tail(self.ctx.as_ptr().cast(), len as u32, 0) };
        if result == 0 { Ok(()) } else { Err(Reason::Truncated) }
    }

    #[inline(always)]
    fn make_room(&mut self, len: usize) -> Result<(), Reason> {
        self.adjust(len, 0)
    }

    #[inline(always)]
    fn change_family(&mut self, v4: bool) -> Result<(), Reason> {
        let protocol = if v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        // SAFETY: the helper takes the program's own context.
        if unsafe { bpf_skb_change_proto(self.ctx.as_ptr().cast(), protocol.raw(), 0) } != 0 {
            return Err(Reason::Truncated);
        }
        let (len, ctx) = (self.ctx.len(), self.ctx.as_ptr().cast());
        // SAFETY: as above.
        unsafe { bpf_skb_pull_data(ctx, if len < HEADERS { len } else { HEADERS }) };
        Ok(())
    }

    /// The kernel notes what kind of packet it becomes, for the segments that it may be cut into.
    #[inline(always)]
    fn wrap(&mut self, v4: bool) -> Result<(), Reason> {
        let flag = if v4 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 };
        self.adjust(tunnel::overhead(v4), flag.into())
    }
}
