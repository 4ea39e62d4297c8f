//! Socket calls, as the cgroup hooks hand them to the logic.

use std::net::{IpAddr, SocketAddr};

use seaway_common::{Addr, Be16, ServiceKey, ServiceValue, proto};
use seaway_ebpf::socket::{SocketCall, restore, sendmsg};
use seaway_harness::MemoryTables;

/// The socket of most tests.
pub const COOKIE: u64 = 77;

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
    fn netns(&self) -> u64 {
        0
    }

    fn source(&self) -> seaway_common::Addr {
        seaway_common::Addr::default()
    }

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

/// What `restore` shows a socket for `remote`.
pub fn shown(tables: &MemoryTables, cookie: u64, remote: SocketAddr) -> SocketAddr {
    let mut call = Call::new(cookie, proto::UDP, remote);
    restore(&mut call, tables);
    call.to()
}

/// Where a datagram of the socket [`COOKIE`] to `vip` goes.
///
/// # Panics
/// When it goes nowhere.
#[track_caller]
pub fn send(tables: &MemoryTables, vip: SocketAddr) -> SocketAddr {
    let mut call = Call::new(COOKIE, proto::UDP, vip);
    assert_eq!(sendmsg(&mut call, tables), Ok(()));
    call.to()
}

/// Writes a service entry anew, as an update does.
///
/// # Panics
/// When there is none.
pub fn change(tables: &MemoryTables, key: &ServiceKey, change: impl FnOnce(&mut ServiceValue)) {
    let mut memory = tables.maps().memory_mut();
    let value = memory.frontends.get_mut(key).unwrap();
    value.generation += 1000;
    change(value);
}
