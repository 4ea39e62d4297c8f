//! `connect`, `sendmsg`, `recvmsg` and `getpeername` as the cgroup hooks see them.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::SockAddrContext;
use seaway_common::{Addr, Be16, Be32};

use crate::socket::SocketCall;

/// A call on an `AF_INET` address.
pub struct SockAddr4(pub SockAddrContext);

/// A call on an `AF_INET6` address, IPv4-mapped ones included.
pub struct SockAddr6(pub SockAddrContext);

/// The cookie of the socket behind any context that has one.
#[inline(always)]
pub fn cookie_of<C: EbpfContext>(ctx: &C) -> u64 {
    // SAFETY: the helper takes the program's own context.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
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
        cookie_of(&self.0)
    }

    #[inline(always)]
    fn proto(&self) -> u8 {
        proto(&self.0)
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
        cookie_of(&self.0)
    }

    #[inline(always)]
    fn proto(&self) -> u8 {
        proto(&self.0)
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

#[inline(always)]
fn proto(ctx: &SockAddrContext) -> u8 {
    // SAFETY: the context is valid for the run of the program.
    unsafe { (*ctx.sock_addr).protocol as u8 }
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
