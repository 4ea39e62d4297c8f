//! Sockets of this node: services are translated once, at the system call, not per packet.

use seaway_common::{
    Addr, BACKEND_SERVING, BackendValue, Be16, Reason, SOCKET_CHAIN_MAX, SOCKET_HEAD, SOCKET_PEER,
    SOCKET_TARGET, ServiceKey, ServiceValue, SocketKey, SocketRef, SocketValue,
};

use crate::Tables;
use crate::translate::choose;

/// A system call that names a remote address.
pub trait SocketCall {
    /// `bpf_get_socket_cookie`: unique for the life of the network namespace.
    fn cookie(&self) -> u64;

    /// Transport protocol number.
    fn proto(&self) -> u8;

    /// The remote address and port.
    fn remote(&self) -> (Addr, Be16);

    /// Replaces them.
    fn set_remote(&mut self, addr: Addr, port: Be16);
}

/// `connect`: the socket gets a backend for its life.
///
/// # Errors
/// [`Reason::NoEndpoint`] when the service has none: the call shall fail with `ECONNREFUSED`.
#[inline(always)]
pub fn connect<C: SocketCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let Some((key, service)) = service_of(call, tables) else { return Ok(()) };
    let (_, backend) = choose_counted(&service, tables)?;
    call.set_remote(backend.addr, backend.port);
    remember_peer(call.cookie(), &key, backend.addr, backend.port, tables)
}

/// `sendmsg` on an unconnected socket: datagrams keep going to one backend while it serves.
///
/// # Errors
/// As [`connect`].
#[inline(always)]
pub fn sendmsg<C: SocketCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let Some((key, service)) = service_of(call, tables) else { return Ok(()) };
    let cookie = call.cookie();
    let target = SocketKey { cookie, entry: socket_ref(key.addr, key.port, SOCKET_TARGET) };
    if let Some(kept) = kept_target(&target, &service, tables) {
        call.set_remote(kept.addr, kept.port);
        // Another service may have led this socket to the same backend in between.
        return remember_peer(cookie, &key, kept.addr, kept.port, tables);
    }
    let (id, backend) = choose_counted(&service, tables)?;
    call.set_remote(backend.addr, backend.port);
    let value = SocketValue {
        addr: backend.addr,
        port: backend.port,
        backend: id,
        generation: service.generation,
        ..SocketValue::default()
    };
    chain(&target, value, tables)?;
    remember_peer(cookie, &key, backend.addr, backend.port, tables)
}

/// `recvmsg` and `getpeername`: a backend's address is shown as the virtual one.
#[inline(always)]
pub fn restore<C: SocketCall, T: Tables>(call: &mut C, tables: &T) {
    let (addr, port) = call.remote();
    let key = SocketKey { cookie: call.cookie(), entry: socket_ref(addr, port, SOCKET_PEER) };
    if let Some(value) = tables.socket(&key) {
        call.set_remote(value.addr, value.port);
    }
}

/// The socket is gone: so are its entries.
#[inline(always)]
pub fn release<T: Tables>(cookie: u64, tables: &T) {
    let mut key = SocketKey { cookie, ..SocketKey::default() };
    let mut steps = 0;
    while steps <= SOCKET_CHAIN_MAX {
        steps += 1;
        let Some(value) = tables.socket(&key) else { return };
        tables.remove_socket(&key);
        if value.next.kind == SOCKET_HEAD {
            return;
        }
        key.entry = value.next;
    }
}

#[inline(always)]
fn service_of<C: SocketCall, T: Tables>(call: &C, tables: &T) -> Option<(ServiceKey, ServiceValue)> {
    let (addr, port) = call.remote();
    let key = ServiceKey { addr, port, proto: call.proto(), scope: 0, _pad: 0 };
    tables.service(&key).map(|service| (key, service))
}

#[inline(always)]
fn choose_counted<T: Tables>(service: &ServiceValue, tables: &T) -> Result<(u32, BackendValue), Reason> {
    let chosen = choose(service, tables);
    tables.count_connection(service.service, chosen.is_ok());
    chosen
}

/// The backend of an earlier `sendmsg`, if it still stands for this service entry.
#[inline(always)]
fn kept_target<T: Tables>(target: &SocketKey, service: &ServiceValue, tables: &T) -> Option<SocketValue> {
    let kept = tables.socket(target)?;
    if kept.generation == service.generation {
        return Some(kept);
    }
    // The service changed since, perhaps not in this backend. Its id may meanwhile be another
    // address's, or the same address's in another service.
    let backend = tables.backend(kept.backend)?;
    let stands = backend.flags & BACKEND_SERVING != 0
        && backend.service == service.service
        && backend.addr == kept.addr
        && backend.port == kept.port;
    if !stands {
        return None;
    }
    Some(kept)
}

#[inline(always)]
fn remember_peer<T: Tables>(
    cookie: u64,
    key: &ServiceKey,
    addr: Addr,
    port: Be16,
    tables: &T,
) -> Result<(), Reason> {
    let entry = socket_ref(addr, port, SOCKET_PEER);
    let value = SocketValue { addr: key.addr, port: key.port, ..SocketValue::default() };
    chain(&SocketKey { cookie, entry }, value, tables)
}

/// Writes an entry and makes it the newest of its socket's chain, unless it is already part of it.
#[inline(always)]
fn chain<T: Tables>(key: &SocketKey, mut value: SocketValue, tables: &T) -> Result<(), Reason> {
    if let Some(old) = tables.socket(key) {
        value.next = old.next;
        return if old == value { Ok(()) } else { tables.put_socket(key, &value) };
    }
    let head_key = SocketKey { cookie: key.cookie, ..SocketKey::default() };
    if let Some(head) = tables.socket(&head_key) {
        value.next = head.next;
    }
    tables.put_socket(key, &value)?;
    tables.put_socket(&head_key, &SocketValue { next: key.entry, ..SocketValue::default() })
}

#[inline(always)]
fn socket_ref(addr: Addr, port: Be16, kind: u8) -> SocketRef {
    SocketRef { addr, port, kind, _pad: [0; 5] }
}
