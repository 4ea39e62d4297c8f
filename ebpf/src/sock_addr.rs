//! `connect`, `sendmsg`, `recvmsg` and `getpeername` as the cgroup hooks see them.

use core::ffi::c_void;

use aya_ebpf::bindings::{bpf_sock_addr, sockaddr};
use aya_ebpf::helpers::generated::{
    bpf_bind, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_skc_to_mptcp_sock,
};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use aya_ebpf::{EbpfContext, Global};
use seaway_common::{Addr, Be16, Be32, proto};

use crate::socket::{BindCall, SocketCall};

/// Set by user space before loading: the kernel has `bpf_skc_to_mptcp_sock` (5.19).
#[unsafe(no_mangle)]
static HAVE_MPTCP: Global<u32> = Global::new(0);

const IPPROTO_MPTCP: u32 = 262;
/// State of a socket with a peer, whatever its protocol.
const TCP_ESTABLISHED: u32 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `struct sockaddr_in`
#[repr(C)]
struct Name4 {
    family: u16,
    port: u16,
    addr: u32,
    zero: [u32; 2],
}

/// `struct sockaddr_in6`
#[repr(C)]
struct Name6 {
    family: u16,
    port: u16,
    flow: u32,
    addr: [u32; 4],
    scope: u32,
}

const _: () = assert!(size_of::<Name4>() == 16 && size_of::<Name6>() == 28);

/// A call on an `AF_INET` address.
pub struct SockAddr4(pub SockAddrContext);

/// A call on an `AF_INET6` address, IPv4-mapped ones included.
pub struct SockAddr6(pub SockAddrContext);

/// What names the socket that is released, see [`SocketCall::cookie`].
#[inline(always)]
pub fn released(ctx: &SockContext) -> u64 {
    // SAFETY: the context is the socket, and valid for the run of the program.
    if HAVE_MPTCP.load() != 0 && unsafe { (*ctx.sock).protocol } == IPPROTO_MPTCP {
        return ctx.as_ptr() as u64;
    }
    cookie_of(ctx)
}

/// The cookie of the socket behind any context that has one.
#[inline(always)]
pub(crate) fn cookie_of<C: EbpfContext>(ctx: &C) -> u64 {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// An MPTCP socket connects by its first subflow, a TCP socket with a cookie of its own, and is asked for
/// its peer and released itself. Its address is known in all three.
#[inline(always)]
fn named(ctx: &SockAddrContext) -> u64 {
    if HAVE_MPTCP.load() != 0 {
        // SAFETY: the context is valid for the run of the program; its socket is checked.
        let (socket, protocol) = unsafe { ((*ctx.sock_addr).__bindgen_anon_1.sk, (*ctx.sock_addr).protocol) };
        if !socket.is_null() {
            if protocol == IPPROTO_MPTCP {
                return socket as u64;
            }
            if protocol == u32::from(proto::TCP) {
                // SAFETY: the helper takes any socket and exists where the flag is set.
                let whole = unsafe { bpf_skc_to_mptcp_sock(socket.cast::<c_void>()) };
                if !whole.is_null() {
                    return whole as u64;
                }
            }
        }
    }
    cookie_of(ctx)
}

/// The cookie of the network namespace of the socket behind the call.
#[inline(always)]
fn netns_of(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

impl SocketCall for SockAddr4 {
    #[inline(always)]
    fn netns(&self) -> u64 {
        netns_of(&self.0)
    }

    #[inline(always)]
    fn source(&self) -> Addr {
        // SAFETY: the context is valid for the run of the program; its socket is not null in
        // these hooks, and the kernel checks the access.
        let ip = unsafe {
            let socket = (*self.0.sock_addr).__bindgen_anon_1.sk;
            if socket.is_null() { 0 } else { (*socket).src_ip4 }
        };
        if ip == 0 { Addr::default() } else { Addr::v4(Be32::from_raw(ip)) }
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        named(&self.0)
    }

    #[inline(always)]
    fn proto(&self) -> u8 {
        protocol(&self.0)
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        is_connected(&self.0)
    }

    #[inline(always)]
    fn remote(&self) -> (Addr, Be16) {
        // SAFETY: the context is valid for the run of the program.
        let ip = unsafe { (*self.0.sock_addr).user_ip4 };
        (Addr::v4(Be32::from_raw(ip)), port(&self.0))
    }

    #[inline(always)]
    fn set_remote(&mut self, addr: Addr, port: Be16) {
        // SAFETY: as in `remote`; these two fields may be written.
        unsafe { (*self.0.sock_addr).user_ip4 = addr.last_word().raw() };
        set_port(&self.0, port);
    }
}

impl BindCall for SockAddr4 {
    #[inline(always)]
    fn bind(&mut self, addr: &Addr) -> bool {
        let mut to = Name4 { family: AF_INET, port: 0, addr: addr.last_word().raw(), zero: [0; 2] };
        bind(&self.0, &mut to)
    }
}

impl SocketCall for SockAddr6 {
    #[inline(always)]
    fn netns(&self) -> u64 {
        netns_of(&self.0)
    }

    #[inline(always)]
    fn source(&self) -> Addr {
        // SAFETY: as for IPv4; each word is read on its own, as the kernel asks for.
        unsafe {
            let socket = (*self.0.sock_addr).__bindgen_anon_1.sk;
            if socket.is_null() {
                return Addr::default();
            }
            Addr::v6([
                Be32::from_raw((&raw const (*socket).src_ip6[0]).read_volatile()),
                Be32::from_raw((&raw const (*socket).src_ip6[1]).read_volatile()),
                Be32::from_raw((&raw const (*socket).src_ip6[2]).read_volatile()),
                Be32::from_raw((&raw const (*socket).src_ip6[3]).read_volatile()),
            ])
        }
    }

    #[inline(always)]
    fn cookie(&self) -> u64 {
        named(&self.0)
    }

    #[inline(always)]
    fn proto(&self) -> u8 {
        protocol(&self.0)
    }

    #[inline(always)]
    fn is_connected(&self) -> bool {
        is_connected(&self.0)
    }

    #[inline(always)]
    fn remote(&self) -> (Addr, Be16) {
        let ctx: *mut bpf_sock_addr = self.0.sock_addr;
        // SAFETY: the context is valid for the run of the program. The kernel allows aligned
        // four-byte accesses to the address, so each word is read on its own.
        let words = unsafe {
            [
                Be32::from_raw((&raw const (*ctx).user_ip6[0]).read_volatile()),
                Be32::from_raw((&raw const (*ctx).user_ip6[1]).read_volatile()),
                Be32::from_raw((&raw const (*ctx).user_ip6[2]).read_volatile()),
                Be32::from_raw((&raw const (*ctx).user_ip6[3]).read_volatile()),
            ]
        };
        (Addr::v6(words), port(&self.0))
    }

    #[inline(always)]
    fn set_remote(&mut self, addr: Addr, port: Be16) {
        let ctx = self.0.sock_addr;
        let words = addr.words();
        // SAFETY: as in `remote`; these fields may be written.
        unsafe {
            (&raw mut (*ctx).user_ip6[0]).write_volatile(words[0].raw());
            (&raw mut (*ctx).user_ip6[1]).write_volatile(words[1].raw());
            (&raw mut (*ctx).user_ip6[2]).write_volatile(words[2].raw());
            (&raw mut (*ctx).user_ip6[3]).write_volatile(words[3].raw());
        }
        set_port(&self.0, port);
    }
}

impl BindCall for SockAddr6 {
    #[inline(always)]
    fn bind(&mut self, addr: &Addr) -> bool {
        let addr = addr.words().map(Be32::raw);
        let mut to = Name6 { family: AF_INET6, port: 0, flow: 0, addr, scope: 0 };
        bind(&self.0, &mut to)
    }
}

#[inline(always)]
fn protocol(ctx: &SockAddrContext) -> u8 {
    // SAFETY: the context is valid for the run of the program.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    if protocol == IPPROTO_MPTCP { proto::TCP } else { protocol as u8 }
}

#[inline(always)]
fn is_connected(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context is valid for the run of the program; its socket is checked.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        !socket.is_null() && (*socket).state == TCP_ESTABLISHED
    }
}

/// Binds the calling socket; only programs at `connect` have the helper.
#[inline(always)]
fn bind<A>(ctx: &SockAddrContext, to: &mut A) -> bool {
    let len = size_of::<A>() as i32;
    // SAFETY: the helper takes the program's own context and an address of that length.
    unsafe { bpf_bind(ctx.sock_addr, core::ptr::from_mut(to).cast::<sockaddr>(), len) == 0 }
}

/// The port lies in network order in the low half of a 32-bit field.
#[inline(always)]
fn port(ctx: &SockAddrContext) -> Be16 {
    // SAFETY: the context is valid for the run of the program.
    Be16::from_raw(unsafe { (*ctx.sock_addr).user_port } as u16)
}

#[inline(always)]
fn set_port(ctx: &SockAddrContext, port: Be16) {
    // SAFETY: the context is valid for the run of the program; the field may be written.
    unsafe { (*ctx.sock_addr).user_port = u32::from(port.raw()) };
}
