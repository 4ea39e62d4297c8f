//! Sockets of this node: services are translated once, at the system call, not per packet.
//!
//! What depends on the client's address is left to the packet's way out of a pod, where the address
//! is known: bindings of clients, source ranges, and an endpoint that may be the client itself.
//! Datagrams are left to it as well, where a flow outlives the sockets that use it.

use seaway_common::{
    ADDRESS_CLUSTER_IP, Action, Addr, BACKEND_HOST, BACKEND_SERVING, Be16, Be32, CONFIG_POD_PATH, Config,
    FlowKey, Reason, SERVICE_CROSS, SERVICE_GUARDED, SERVICE_LOOPBACK, SERVICE_LOOPBACK_NET, SERVICE_NEAR,
    SERVICE_STAND_IN, SOCKET_CHAIN_MAX, SOCKET_HEAD, SOCKET_PEER, SOCKET_TARGET, ServiceKey, ServiceValue,
    SocketKey, SocketRef, SocketValue, proto,
};

use crate::Tables;
use crate::select::{Choice, select};

/// RFC 863: nobody listens there, and if somebody does, nothing comes of it.
const DISCARD: Be16 = Be16::new(9);
/// 127.0.0.1
const LOCALHOST: Be32 = Be32::new(0x7f00_0001);

/// A system call that names a remote address.
pub trait SocketCall {
    /// Names the socket for its life: `bpf_get_socket_cookie`, see [`SocketKey::cookie`] for MPTCP.
    fn cookie(&self) -> u64;

    /// `bpf_get_netns_cookie`: of the socket's network namespace.
    fn netns(&self) -> u64;

    /// Transport protocol number; TCP for MPTCP.
    fn proto(&self) -> u8;

    /// The address that the socket is bound to; zero where it is not.
    fn source(&self) -> Addr;

    /// Whether the socket has a peer.
    fn is_connected(&self) -> bool;

    /// The remote address and port.
    fn remote(&self) -> (Addr, Be16);

    /// Replaces them.
    fn set_remote(&mut self, addr: Addr, port: Be16);
}

/// A system call that may still choose the socket's own address: `connect`.
pub trait BindCall: SocketCall {
    /// Binds the socket to an address of the node; its port is the kernel's choice. False where the
    /// kernel refuses, as it does for a socket that has a port.
    fn bind(&mut self, addr: &Addr) -> bool;
}

/// A call to a service that is translated here.
#[derive(Default)]
struct Asked {
    /// The service, by the address that the socket shall see.
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
pub fn connect<C: BindCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    match connect_to_backend(call, tables) {
        // Nothing is sent but by TCP. getaddrinfo() connects a datagram socket to each address to sort
        // them by their source; datagrams keep the service's address and are refused on their way.
        Err(reason) if call.proto() != proto::TCP && reason.action() == Action::Refuse => {
            let (addr, port) = call.remote();
            lead_nowhere(call, addr, port, tables)
        }
        done => done,
    }
}

#[inline(always)]
fn connect_to_backend<C: BindCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let mut asked = Asked::default();
    if ask(call, tables, &mut asked)? != Place::Here {
        return Ok(());
    }
    let mut choice = Choice::default();
    choose(&asked, tables, &mut choice)?;
    let backend = &choice.backend;
    if stays_on_loopback(&asked, &choice) && !rebind(call, &backend.addr, tables) {
        return Ok(());
    }
    call.set_remote(backend.addr, backend.port);
    let counted = u32::from(asked.key.proto == proto::TCP);
    if counted != 0 {
        tables.count_open(choice.id, true);
    }
    let peer = SocketValue { backend: choice.id, counted, ..SocketValue::default() };
    remember_peer(call.cookie(), &asked.key, backend.addr, backend.port, peer, tables)
}

/// A socket of the node whose packets to a service would have no way: what it sends is refused by the
/// node itself, where it would be by the program on their way.
#[inline(always)]
fn lead_nowhere<C: SocketCall, T: Tables>(
    call: &mut C,
    addr: Addr,
    port: Be16,
    tables: &T,
) -> Result<(), Reason> {
    let Some(config) = tables.config() else { return Ok(()) };
    if call.netns() != config.host_netns || config.is_routed(&addr) {
        return Ok(());
    }
    let Some(own) = config.snat_for(&addr).copied() else { return Ok(()) };
    let key = ServiceKey { addr, port, ..ServiceKey::default() };
    call.set_remote(own, DISCARD);
    remember_peer(call.cookie(), &key, own, DISCARD, SocketValue::default(), tables)
}

/// `sendmsg` on an unconnected socket: datagrams keep going to one backend while it serves.
///
/// # Errors
/// As [`connect`], for every protocol.
#[inline(always)]
pub fn sendmsg<C: SocketCall, T: Tables>(call: &mut C, tables: &T) -> Result<(), Reason> {
    let mut asked = Asked::default();
    match ask(call, tables, &mut asked)? {
        Place::Here => {}
        Place::Packets => return Ok(()),
        Place::Elsewhere => {
            let (addr, port) = call.remote();
            return if keeps_peers(call, tables) {
                remember_direct(call.cookie(), addr, port, tables)
            } else {
                Ok(())
            };
        }
    }
    let cookie = call.cookie();
    let target = SocketKey { cookie, entry: socket_ref(asked.key.addr, asked.key.port, SOCKET_TARGET) };
    let mut value = SocketValue::default();
    if !keep_target(&target, &asked.service, &mut value, tables) {
        let mut choice = Choice::default();
        choose(&asked, tables, &mut choice)?;
        if stays_on_loopback(&asked, &choice) {
            return Ok(());
        }
        value.addr = choice.backend.addr;
        value.port = choice.backend.port;
        value.backend = choice.id;
        value.generation = asked.service.generation;
        chain(&target, &mut value, tables)?;
        value.addr = choice.backend.addr;
        value.port = choice.backend.port;
        value.by_packet = 0;
    }
    if value.by_packet != 0 {
        return Ok(());
    }
    let (addr, port) = (value.addr, value.port);
    if is_named_otherwise(cookie, &asked.key, addr, port, tables)
        && translates_packets(call, &asked.key.addr, tables)
    {
        value = SocketValue { by_packet: 1, ..SocketValue::default() };
        return chain(&target, &mut value, tables);
    }
    // Without a program on the packet's way, answers bear the address that was asked last.
    call.set_remote(addr, port);
    remember_peer(cookie, &asked.key, addr, port, SocketValue::default(), tables)
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

/// Where a call's address is translated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Here.
    Here,
    /// On the packet's way.
    Packets,
    /// Nowhere: it is no service's.
    Elsewhere,
}

/// Finds the service that the call is to, and where it is translated.
#[inline(always)]
fn ask<C: SocketCall, T: Tables>(call: &C, tables: &T, asked: &mut Asked) -> Result<Place, Reason> {
    let (addr, port) = call.remote();
    asked.client = call.source();
    asked.key = ServiceKey { addr, port, proto: call.proto(), scope: 0, _pad: 0 };
    if is_unspecified(&addr) {
        asked.key.addr = meant_by_unspecified(&addr, &asked.client);
    }
    if !find(asked, tables) {
        let known = tables.address(&addr) & ADDRESS_CLUSTER_IP != 0;
        return if known { Err(Reason::UndefinedPort) } else { Ok(Place::Elsewhere) };
    }
    let service = &asked.service;
    if service.has(SERVICE_CROSS) {
        return Ok(Place::Packets); // A socket cannot change its family; its packets can.
    }
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    if call.netns() == config.host_netns {
        // A balancer's address may be the node's own too: a socket bound to it is the node's.
        if asked.client.is_zero() || (asked.client == addr && !is_loopback(&addr)) {
            asked.client = config.snat_for(&addr).copied().unwrap_or_default();
        }
    } else if service.has(SERVICE_LOOPBACK) {
        return Ok(Place::Elsewhere);
    } else if left_to_packets(service, asked.key.proto, config) {
        return Ok(Place::Packets);
    }
    if service.has(SERVICE_GUARDED) && !tables.in_source_ranges(service.service, &asked.client) {
        return Err(Reason::SourceRange);
    }
    Ok(Place::Here)
}

/// Looks the service up: by the address itself, else by 127.0.0.1 for all of its network.
#[inline(never)]
fn find<T: Tables>(asked: &mut Asked, tables: &T) -> bool {
    if let Some(service) = tables.service(&asked.key) {
        asked.service = service;
        return true;
    }
    let addr = asked.key.addr;
    if !is_loopback(&addr) || !addr.is_v4() {
        return false;
    }
    asked.key.addr = Addr::v4(LOCALHOST);
    let found = tables.service(&asked.key);
    asked.key.addr = addr;
    match found {
        Some(service) if service.has(SERVICE_LOOPBACK_NET) => {
            asked.service = service;
            true
        }
        _ => false,
    }
}

/// The kernel takes the unspecified address for the socket's own over IPv4, and for loopback
/// otherwise.
#[inline(always)]
fn meant_by_unspecified(addr: &Addr, own: &Addr) -> Addr {
    if addr.is_v4() && !own.is_zero() {
        *own
    } else if addr.is_v4() || own.is_v4() {
        Addr::v4(LOCALHOST)
    } else {
        Addr::v6([Be32::default(), Be32::default(), Be32::default(), Be32::new(1)])
    }
}

#[inline(always)]
fn is_unspecified(addr: &Addr) -> bool {
    addr.is_zero() || (addr.is_v4() && addr.last_word().raw() == 0)
}

#[inline(always)]
fn is_loopback(addr: &Addr) -> bool {
    let last = addr.last_word().get();
    let [a, b, c, _] = addr.words();
    if addr.is_v4() { last >> 24 == 127 } else { last == 1 && a.raw() | b.raw() | c.raw() == 0 }
}

/// Whether the socket is bound to loopback, and its endpoint is not on it: the kernel sends nothing
/// from there to elsewhere, and `connect` would fail with `EINVAL`.
#[inline(always)]
fn stays_on_loopback(asked: &Asked, choice: &Choice) -> bool {
    is_loopback(&asked.client) && choice.backend.flags & BACKEND_HOST == 0
}

/// Gives the socket the node's address, if it has no port yet.
#[inline(always)]
fn rebind<C: BindCall, T: Tables>(call: &mut C, to: &Addr, tables: &T) -> bool {
    match tables.config().and_then(|config| config.snat_for(to)) {
        Some(own) => call.bind(own),
        None => false,
    }
}

/// Whether sockets like this one have datagrams translated here at all. A connected one has its only peer,
/// which the kernel repeats for each datagram of an IPv6 socket to an IPv4 address.
#[inline(always)]
fn keeps_peers<C: SocketCall, T: Tables>(call: &C, tables: &T) -> bool {
    let Some(config) = tables.config() else { return false };
    if call.is_connected() {
        return false;
    }
    config.flags & CONFIG_POD_PATH == 0 || call.netns() == config.host_netns
}

/// Whether packets of the socket pass a program that translates them: the node's own leave by one of its
/// interfaces if it has a route for them, and pods' do where theirs are known.
#[inline(always)]
fn translates_packets<C: SocketCall, T: Tables>(call: &C, addr: &Addr, tables: &T) -> bool {
    let Some(config) = tables.config() else { return false };
    if call.netns() == config.host_netns {
        config.is_routed(addr)
    } else {
        config.flags & CONFIG_POD_PATH != 0
    }
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

/// Copies the backend of an earlier `sendmsg`, if it still stands for this service entry.
#[inline(always)]
fn keep_target<T: Tables>(
    target: &SocketKey,
    service: &ServiceValue,
    kept: &mut SocketValue,
    tables: &T,
) -> bool {
    if service.has(SERVICE_STAND_IN) && !tables.stands_in() {
        return false; // It may be the server that is gone.
    }
    let Some(found) = tables.socket(target) else { return false };
    if found.generation != service.generation && found.by_packet == 0 {
        // The service changed since, perhaps not in this backend. Its id may meanwhile be another
        // address's, or the same address's in another service.
        let Some(backend) = tables.backend(found.backend) else { return false };
        let stands = backend.flags & BACKEND_SERVING != 0
            && backend.service == service.service
            && backend.addr == found.addr
            && backend.port == found.port;
        if !stands {
            return false;
        }
    }
    *kept = found;
    true
}

/// Whether answers from the backend bear another address than the one that is asked now.
#[inline(always)]
fn is_named_otherwise<T: Tables>(cookie: u64, key: &ServiceKey, addr: Addr, port: Be16, tables: &T) -> bool {
    let peer = SocketKey { cookie, entry: socket_ref(addr, port, SOCKET_PEER) };
    tables.socket(&peer).is_some_and(|named| named.addr != key.addr || named.port != key.port)
}

/// A datagram to a backend's own address: if the backend stood for a service, it stands for itself now.
#[inline(always)]
fn remember_direct<T: Tables>(cookie: u64, addr: Addr, port: Be16, tables: &T) -> Result<(), Reason> {
    let key = SocketKey { cookie, entry: socket_ref(addr, port, SOCKET_PEER) };
    match tables.socket(&key) {
        Some(named) if named.addr != addr || named.port != port => {
            tables.put_socket(&key, &SocketValue { addr, port, ..named })
        }
        _ => Ok(()),
    }
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
