//! Socket calls, as the cgroup hooks hand them to the logic.

use std::net::{IpAddr, SocketAddr};

use seaway_common::{Addr, Be16};
use seaway_ebpf::socket::SocketCall;

/// A call of one socket on one remote address.
#[derive(Clone, Debug)]
pub struct Call {
    cookie: u64,
    proto: u8,
    remote: (Addr, Be16),
}

impl Call {
    /// A call of the socket `cookie`.
    pub fn new(cookie: u64, proto: u8, remote: SocketAddr) -> Self {
        Self { cookie, proto, remote: (remote.ip().into(), Be16::new(remote.port())) }
    }

    /// The remote address after the call.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::from(self.remote.0), self.remote.1.get())
    }
}

impl SocketCall for Call {
    fn cookie(&self) -> u64 {
        self.cookie
    }

    fn proto(&self) -> u8 {
        self.proto
    }

    fn remote(&self) -> (Addr, Be16) {
        self.remote
    }

    fn set_remote(&mut self, addr: Addr, port: Be16) {
        self.remote = (addr, port);
    }
}
