//! Socket calls, as the cgroup hooks hand them to the logic.

use std::net::{IpAddr, SocketAddr};

use seaway_common::{Addr, Be16, ServiceKey, ServiceValue, proto};
use seaway_ebpf::socket::{BindCall, SocketCall, restore, sendmsg};
use seaway_harness::MemoryTables;

/// The socket of most tests.
pub const COOKIE: u64 = 77;

/// A call of one socket on one remote address.
#[derive(Clone, Debug)]
pub struct Call {
    cookie: u64,
    proto: u8,
    remote: (Addr, Be16),
    source: Addr,
    has_port: bool,
    netns: u64,
    connected: bool,
}

impl Call {
    /// A call of the socket `cookie`.
    pub fn new(cookie: u64, proto: u8, remote: SocketAddr) -> Self {
        let remote = (remote.ip().into(), Be16::new(remote.port()));
        Self { cookie, proto, remote, source: Addr::default(), has_port: false, netns: 0, connected: false }
    }

    /// The socket is bound to an address, and to a port where it is not `0`.
    #[must_use]
    pub fn bound(self, own: SocketAddr) -> Self {
        Self { source: own.ip().into(), has_port: own.port() != 0, ..self }
    }

    /// The socket is a pod's.
    #[must_use]
    pub fn of_pod(self) -> Self {
        Self { netns: 1, ..self }
    }

    /// The socket has a peer already.
    #[must_use]
    pub fn connected(self) -> Self {
        Self { connected: true, ..self }
    }

    /// The address that the socket is bound to after the call.
    pub fn own(&self) -> IpAddr {
        self.source.into()
    }

    /// The remote address after the call.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::from(self.remote.0), self.remote.1.get())
    }
}

impl SocketCall for Call {
    fn netns(&self) -> u64 {
        self.netns
    }

    fn source(&self) -> Addr {
        self.source
    }

    fn cookie(&self) -> u64 {
        self.cookie
    }

    fn is_connected(&self) -> bool {
        self.connected
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

impl BindCall for Call {
    fn bind(&mut self, addr: &Addr) -> bool {
        if self.has_port {
            return false;
        }
        self.source = *addr;
        true
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
