//! Sockets: which virtual address a local socket believes it talks to.
//!
//! A backend's address stands for one virtual address per socket. Where a second one leads to the same
//! backend, the datagrams to that one are left to the packet's way, which has an entry for each flow.
//!
//! A socket can talk to many services (unconnected UDP), so its entries form a chain: the head
//! names the newest entry, every entry names the one before it. `sock_release` walks the chain
//! and leaves nothing behind.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16};

/// Kind of the entry that only starts the chain; its address and port are zero.
pub const SOCKET_HEAD: u8 = 0;
/// Kind of the entry from a backend to the virtual address, for `recvmsg` and `getpeername`.
pub const SOCKET_PEER: u8 = 1;
/// Kind of the entry from a virtual address to the backend that `sendmsg` keeps using.
pub const SOCKET_TARGET: u8 = 2;

/// Entries that `sock_release` removes at most; more than this are left to the LRU.
pub const SOCKET_CHAIN_MAX: u32 = 64;

/// Names an entry of a given socket. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SocketRef {
    /// Backend's or virtual address, by kind.
    pub addr: Addr,
    /// Its port.
    pub port: Be16,
    /// `SOCKET_*` kind.
    pub kind: u8,
    /// Explicit padding, zero.
    pub _pad: [u8; 5],
}

const _: () = assert!(size_of::<SocketRef>() == 24);

/// Key of an entry. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct SocketKey {
    /// `bpf_get_socket_cookie`. An MPTCP socket connects by another one, its first subflow: its own
    /// address in the kernel stands here, which both know. Such numbers are far above any cookie.
    pub cookie: u64,
    /// Which of the socket's entries.
    pub entry: SocketRef,
}

const _: () = assert!(size_of::<SocketKey>() == 32);

/// The other side of the translation, and the next entry of the chain. 56 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SocketValue {
    /// Virtual or backend address, by kind.
    pub addr: Addr,
    /// Its port.
    pub port: Be16,
    /// 1 for a `SOCKET_TARGET` whose datagrams keep the virtual address: they are translated on their way.
    pub by_packet: u16,
    /// Backend id.
    pub backend: u32,
    /// The service entry's generation at the time of the choice, for `SOCKET_TARGET`.
    pub generation: u32,
    /// 1 for a connection that counts among its backend's, for `SOCKET_PEER`.
    pub counted: u32,
    /// The entry before this one; kind `SOCKET_HEAD` ends the chain.
    pub next: SocketRef,
}

const _: () = assert!(size_of::<SocketValue>() == 56);
