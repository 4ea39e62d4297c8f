//! Sockets of this node: services are translated once, at the system call, not per packet.
//!
//! What depends on the client's address is left to the packet's way out of a pod, where the address
//! is known: bindings of clients, source ranges, and an endpoint that may be the client itself.
//! Datagrams are left to it as well, where a flow outlives the sockets that use it.

use seaway_common::{
    ADDRESS_CLUSTER_IP, Addr, BACKEND_SERVING, Be16, CONFIG_POD_PATH, Config, FlowKey, Reason, SERVICE_CROSS,
    SERVICE_GUARDED, SERVICE_LOOPBACK, SERVICE_NEAR, SERVICE_STAND_IN, SOCKET_CHAIN_MAX, SOCKET_HEAD,
    SOCKET_PEER, SOCKET_TARGET, ServiceKey, ServiceValue, SocketKey, SocketRef, SocketValue, proto,
};

use crate::Tables;
use crate::select::{Choice, select};

/// A system call that names a remote address.
pub trait SocketCall {
    /// `bpf_get_socket_cookie`: unique for the life of the network namespace.
    fn cookie(&self) -> u64;

    /// `bpf_get_netns_cookie`: of the socket's network namespace.
    fn netns(&self) -> u64;

    /// Transport protocol number.
    fn proto(&self) -> u8;

    /// The address that the socket is bound to; zero where it is not.
    fn source(&self) -> Addr;

    /// The remote address and port.
    fn remote(&self) -> (Addr, Be16);

    /// Replaces them.
    fn set_remote(&mut self, addr: Addr, port: Be16);
}

/// A call to a service that is translated here.
#[derive(Default)]
struct Asked {
    key: ServiceKey,
    service: ServiceValue,
    /// The client's address; zero when it is not known.
    client: Addr,
}

/// `connect`: the socket gets a backend for its life.
///
/// # Errors
/// Those whose action is to refuse: the call shall fail with `ECONNREFUSED`. Those that drop leave
/// the address as it is: its packets end at the interface's egress.
#[inline(always)]
pub fn connect<C: SocketCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let mut asked = Asked::default();
    if !ask(call, tables, &mut asked)? {
        return Ok(());
    }
    let mut choice = Choice::default();
    choose(&asked, tables, &mut choice)?;
    let backend = &choice.backend;
    call.set_remote(backend.addr, backend.port);
    let counted = u32::from(asked.key.proto == proto::TCP);
    if counted != 0 {
        tables.count_open(choice.id, true);
    }
    let peer = SocketValue { backend: choice.id, counted, ..SocketValue::default() };
    remember_peer(call.cookie(), &asked.key, backend.addr, backend.port, peer, tables)
}

/// `sendmsg` on an unconnected socket: datagrams keep going to one backend while it serves.
///
/// # Errors
/// As [`connect`].
#[inline(always)]
pub fn sendmsg<C: SocketCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let mut asked = Asked::default();
    if !ask(call, tables, &mut asked)? {
        return Ok(());
    }
    let cookie = call.cookie();
    let target = SocketKey { cookie, entry: socket_ref(asked.key.addr, asked.key.port, SOCKET_TARGET) };
    let peer = SocketValue::default();
    if let Some(kept) = kept_target(&target, &asked.service, tables) {
        call.set_remote(kept.addr, kept.port);
        // Another service may have led this socket to the same backend in between.
        return remember_peer(cookie, &asked.key, kept.addr, kept.port, peer, tables);
    }
    let mut choice = Choice::default();
    choose(&asked, tables, &mut choice)?;
    let backend = &choice.backend;
    call.set_remote(backend.addr, backend.port);
    let mut value = SocketValue {
        addr: backend.addr,
        port: backend.port,
        backend: choice.id,
        generation: asked.service.generation,
        ..SocketValue::default()
    };
    chain(&target, &mut value, tables)?;
    remember_peer(cookie, &asked.key, backend.addr, backend.port, peer, tables)
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

/// Whether the socket was led to the packet's destination by its system call, so that the packet is translated
/// already although its destination is a frontend too.
#[inline(never)]
pub(crate) fn has_peer<T: Tables>(cookie: u64, key: &FlowKey, tables: &T) -> bool {
    let entry = socket_ref(key.dst, key.dport, SOCKET_PEER);
    cookie != 0 && tables.socket(&SocketKey { cookie, entry }).is_some()
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
        if value.counted != 0 {
            tables.count_open(value.backend, false);
        }
        if value.next.kind == SOCKET_HEAD {
            return;
        }
        key.entry = value.next;
    }
}

/// Whether the call is to a service and is translated here.
#[inline(always)]
fn ask<C: SocketCall, T: Tables>(call: &C, tables: &T, asked: &mut Asked) -> Result<bool, Reason> {
    let (addr, port) = call.remote();
    asked.key = ServiceKey { addr, port, proto: call.proto(), scope: 0, _pad: 0 };
    let Some(service) = tables.service(&asked.key) else {
        let known = tables.address(&addr) & ADDRESS_CLUSTER_IP != 0;
        return if known { Err(Reason::UndefinedPort) } else { Ok(false) };
    };
    if service.has(SERVICE_CROSS) {
        return Ok(false); // A socket cannot change its family; its packets can.
    }
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let on_host = call.netns() == config.host_netns;
    if !on_host && (service.has(SERVICE_LOOPBACK) || left_to_packets(&service, asked.key.proto, config)) {
        return Ok(false);
    }
    asked.client = call.source();
    if asked.client.is_zero() && on_host {
        asked.client = config.snat_for(&addr).copied().unwrap_or_default();
    }
    if service.has(SERVICE_GUARDED) && !tables.in_source_ranges(service.service, &asked.client) {
        return Err(Reason::SourceRange);
    }
    asked.service = service;
    Ok(true)
}

/// Whether a pod's packets are translated on their way instead.
#[inline(always)]
fn left_to_packets(service: &ServiceValue, proto: u8, config: &Config) -> bool {
    config.flags & CONFIG_POD_PATH != 0
        && (proto != proto::TCP
            || service.affinity_s != 0
            || service.flags & (SERVICE_GUARDED | SERVICE_NEAR) != 0)
}

/// Processes of this node and its pods are inside of the cluster.
#[inline(always)]
fn choose<T: Tables>(asked: &Asked, tables: &T, choice: &mut Choice) -> Result<(), Reason> {
    let ServiceKey { addr, port, proto, .. } = asked.key;
    // The source port is not known yet; any serves to spread connections.
    let sport = Be16::new(tables.random() as u16);
    let key = FlowKey { src: asked.client, dst: addr, sport, dport: port, proto, _pad: [0; 3] };
    let chosen = select(&asked.service, &key, true, tables, choice);
    tables.count_connection(asked.service.service, chosen.is_ok());
    chosen
}

/// The backend of an earlier `sendmsg`, if it still stands for this service entry.
#[inline(always)]
fn kept_target<T: Tables>(target: &SocketKey, service: &ServiceValue, tables: &T) -> Option<SocketValue> {
    if service.has(SERVICE_STAND_IN) && !tables.stands_in() {
        return None; // It may be the server that is gone.
    }
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
    peer: SocketValue,
    tables: &T,
) -> Result<(), Reason> {
    let entry = socket_ref(addr, port, SOCKET_PEER);
    let mut value = SocketValue { addr: key.addr, port: key.port, ..peer };
    chain(&SocketKey { cookie, entry }, &mut value, tables)
}

/// Writes an entry and makes it the newest of its socket's chain, unless it is already part of it.
/// What `value` holds afterwards means nothing.
#[inline(never)]
fn chain<T: Tables>(key: &SocketKey, value: &mut SocketValue, tables: &T) -> Result<(), Reason> {
    if let Some(old) = tables.socket(key) {
        value.next = old.next;
        return if old == *value { Ok(()) } else { tables.put_socket(key, value) };
    }
    let head_key = SocketKey { cookie: key.cookie, ..SocketKey::default() };
    if let Some(head) = tables.socket(&head_key) {
        value.next = head.next;
    }
    tables.put_socket(key, value)?;
    // In the caller's room. Linux 6.1 rounds every frame up to 32 bytes, and newer kernels to 16: there is
    // no room for another value when `sendmsg` calls.
    *value = SocketValue { next: key.entry, ..SocketValue::default() };
    tables.put_socket(&head_key, value)
}

#[inline(always)]
fn socket_ref(addr: Addr, port: Be16, kind: u8) -> SocketRef {
    SocketRef { addr, port, kind, _pad: [0; 5] }
}
