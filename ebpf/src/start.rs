//! The first packet of a flow: is it for a service, may it use it, and what becomes of it.

use seaway_common::{
    ADDRESS_CLUSTER_IP, ADDRESS_EXTERNAL, ADDRESS_OWN, Addr, BACKEND_HOST, BACKEND_LOCAL, Be16, Be32,
    CONFIG_KERNEL_FLOWS, CONFIG_MASQUERADE_ALL, DEVICE_BRIDGE_PORT, DEVICE_STRICT_RP_FILTER,
    DEVICE_XDP_TRANSMIT, FLOW_AT_EGRESS, FLOW_DSR, FLOW_FORWARD, FLOW_KERNEL, FLOW_TO_INGRESS, FLOW_TRANSMIT,
    FLOW_XDP_HOP, FlowKey, FlowValue, Hop, Reason, SERVICE_CROSS, SERVICE_DSR, SERVICE_EXTERNAL,
    SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED, SERVICE_LOOPBACK, ServiceKey, ServiceValue, proto,
};

use crate::headers::{ETHERNET_LEN, Headers, RST};
use crate::packet::{Route, Way};
use crate::select::{Choice, select};
use crate::translate::{Stage, forget};
use crate::{FlowEntry, Flows, Packet, Tables, martian, pair, socket};

/// What a new flow gets.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    pub(crate) service: ServiceValue,
    pub(crate) choice: Choice,
    /// New source address; zero keeps the client's.
    pub(crate) snat: Addr,
    /// The source that is tried.
    pub(crate) src: Addr,
    /// Its port.
    pub(crate) sport: Be16,
    /// A port whose flow may give way if none is free; 0 if there is none so far.
    pub(crate) spare: u32,
    /// Not 0: it gives way now.
    pub(crate) insists: u32,
    /// The tuple of replies, and the entry under it.
    pub(crate) reply_key: FlowKey,
    pub(crate) value: FlowValue,
    /// Where replies go that the stack gets as if they had arrived by another interface.
    pub(crate) back: Hop,
    /// What the kernel is asked about the way of a flow's packets, and what it says.
    pub(crate) route: Route,
    pub(crate) way: Way,
}

impl Plan {
    /// The key of the pair of a flow entry, and what the entry says.
    #[inline(always)]
    pub(crate) fn set_pair(&mut self, key: &FlowKey, value: &FlowValue) {
        self.value.to = value.to;
        self.value.backend = value.backend;
        self.value.state = value.state;
        self.reply_key = self.value.to.reply_key(key.proto);
    }

    /// The key of the pair.
    #[inline(always)]
    pub(crate) const fn pair_key(&self) -> &FlowKey {
        &self.reply_key
    }

    /// From what the entry says to what its pair says.
    #[inline(always)]
    pub(crate) fn finish_pair(&mut self, key: &FlowKey, shared: u16, now: u64) {
        let forward = self.value.state & FLOW_FORWARD == 0;
        let egress = self.value.state & if forward { FLOW_TO_INGRESS } else { FLOW_AT_EGRESS } != 0;
        self.value.to = self.value.to.undo(key);
        self.value.pseudo = self.reply_key.pseudo();
        let (key, to) = (&self.reply_key, &self.value.to);
        let own = if forward { pair::requests(egress, key, to) } else { pair::replies(egress, key, to) };
        self.value.state = own | shared;
        self.value.last_seen = now;
        self.value.ack = Be32::default();
        self.value.hop = Hop::default();
        self.value.mtu = 0;
    }
}

/// Writes the pair's entry.
#[inline(never)]
pub(crate) fn put_pair<F: Flows>(plan: &Plan, flows: &F) -> Result<(), Reason> {
    flows.put_flow(&plan.reply_key, &plan.value)
}

/// Starts a flow if the packet is for a service, and says whether it is.
///
/// # Errors
/// The reason why the packet is not let through.
#[inline(never)]
pub fn flow<P: Packet, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
) -> Started {
    tables
        .keep_plan(|plan| follow(packet, headers, (tables, flows), stage, plan))
        .unwrap_or(Started::No(Reason::Inconsistent))
}

#[inline(always)]
fn follow<P: Packet, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    (tables, flows): (&T, &F),
    stage: Stage,
    plan: &mut Plan,
) -> Started {
    if !find(&headers.key, tables, plan) {
        return not_served(headers, tables, stage);
    }
    if stage == Stage::Early && plan.service.has(SERVICE_CROSS) {
        return Started::NotOurs;
    }
    if plan.service.has(SERVICE_LOOPBACK) {
        return not_served(headers, tables, stage);
    }
    if stage != Stage::Early && was_translated(headers, flows) {
        return Started::NotOurs;
    }
    if stage == Stage::Egress && socket::has_peer(packet.socket_cookie(), &headers.key, tables) {
        return Started::NotOurs;
    }
    let inside = match admit(headers, &plan.service, tables) {
        Admitted::Inside => true,
        Admitted::Outside => false,
        Admitted::NotOurs => return Started::NotOurs,
        Admitted::No(reason) => return Started::No(reason),
    };
    let selected = select(&plan.service, &headers.key, inside, tables, &mut plan.choice);
    tables.count_connection(plan.service.service, selected.is_ok());
    if let Err(reason) = selected {
        return Started::No(reason);
    }
    if headers.replaces {
        forget(&headers.key, flows); // Or its entry would hide the new one, which is half-open.
    }
    plan.value.hop = Hop::default();
    plan.value.mtu = 0;
    plan.value.state = 0;
    plan.value.ack = Be32::default();
    if stage != Stage::Egress && answers_itself(plan, &headers.key) {
        return match direct(&headers.key, plan, tables, flows) {
            Ok(()) => Started::Yes,
            Err(reason) => Started::No(reason),
        };
    }
    if headers.is_connection() && !headers.opens() {
        return Started::No(Reason::NoFlow);
    }
    let masquerades = stage != Stage::Egress && masquerade(plan, &headers.key, inside, tables);
    plan.snat = Addr::default();
    if masquerades && let Err(reason) = route(packet, headers, plan, tables) {
        return Started::No(reason);
    }
    let established = if stage == Stage::Egress {
        match remember_way_back(packet, plan) {
            Ok(()) => pair::establish(&headers.key, plan, tables, flows, true),
            Err(reason) => Err(reason),
        }
    } else {
        pair::establish(&headers.key, plan, tables, flows, false)
    };
    match established {
        Ok(()) => Started::Yes,
        Err(reason) => Started::No(reason),
    }
}

/// Whether a packet to a frontend is one that was translated to it: an endpoint may have the address and
/// port of a Service, this one's included. Replies to it are known then.
#[inline(never)]
fn was_translated<F: Flows>(headers: &Headers, flows: &F) -> bool {
    flows.flow(&headers.key.reversed()).is_some_and(|reply| reply.state() & (FLOW_FORWARD | FLOW_KERNEL) == 0)
}

/// Looks the service up.
#[inline(never)]
fn find<T: Tables>(key: &FlowKey, tables: &T, plan: &mut Plan) -> bool {
    match tables.service(&service_key(key)) {
        Some(service) => {
            plan.service = service;
            true
        }
        None => false,
    }
}

/// What became of a packet without a flow. These results fit into one register, every bit of which
/// is written: of a `Result<bool, _>` half is left as it was, which the verifier takes amiss.
pub enum Started {
    /// It has a flow now.
    Yes,
    /// It is not for a service.
    NotOurs,
    /// It is not let through.
    No(Reason),
}

impl Started {
    /// As a number that fits a register.
    #[inline(always)]
    pub fn code(self) -> u64 {
        match self {
            Self::Yes => 0,
            Self::NotOurs => 1,
            Self::No(reason) => 2 + u64::from(reason as u32),
        }
    }

    /// From that number.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn of(code: u64) -> Self {
        match code {
            0 => Self::Yes,
            1 => Self::NotOurs,
            reason => Self::No(Reason::of((reason - 2) as u32).unwrap_or(Reason::Inconsistent)),
        }
    }
}

/// Whether a client is let in.
enum Admitted {
    Inside,
    Outside,
    NotOurs,
    No(Reason),
}

#[inline(always)]
fn not_served<T: Tables>(headers: &Headers, tables: &T, stage: Stage) -> Started {
    if stage == Stage::Early {
        return Started::NotOurs;
    }
    match unserved(headers, tables) {
        Ok(()) => Started::NotOurs,
        Err(reason) => Started::No(reason),
    }
}

/// At the egress, a datagram that leaves from a frontend's address and port and is of no flow: the kernel
/// translated it, or a socket of the node has the port. The answer belongs to the kernel too. TCP needs no
/// such note, since only its first segment starts a flow.
#[inline(never)]
pub(crate) fn note_kernel_flow<T: Tables, F: Flows>(headers: &Headers, tables: &T, flows: &F) {
    if headers.key.proto != proto::UDP {
        return;
    }
    let key = headers.key.reversed();
    if tables.service(&service_key(&key)).is_none() {
        return;
    }
    let noted = tables.keep_plan(|plan| {
        plan.reply_key = key;
        plan.value = FlowValue { state: FLOW_KERNEL, last_seen: tables.now(), ..FlowValue::default() };
        put_pair(plan, flows)
    });
    // A full table takes an older entry's place; without a note the answer is taken for a request.
    let _noted = noted;
}

/// Whether a service's client is let in. Says whether it is inside of the cluster.
#[inline(never)]
fn admit<T: Tables>(headers: &Headers, service: &ServiceValue, tables: &T) -> Admitted {
    let key = &headers.key;
    if !martian::is_client(key, tables) {
        return Admitted::No(Reason::BadSource);
    }
    if headers.is_connection() && !headers.opens() && (!service.has(SERVICE_DSR) || headers.closes()) {
        return without_flow(headers, tables);
    }
    if service.has(SERVICE_GUARDED) && !tables.in_source_ranges(service.service, &key.src) {
        return Admitted::No(Reason::SourceRange);
    }
    match tables.config() {
        Some(config) if config.in_cluster(&key.src) => Admitted::Inside,
        Some(_) => Admitted::Outside,
        None => Admitted::No(Reason::Inconsistent),
    }
}

/// TCP that neither belongs to a flow nor starts one. Where a stack has the address, it has a connection
/// for the segment or resets it; nobody else answers for the others.
#[inline(always)]
fn without_flow<T: Tables>(headers: &Headers, tables: &T) -> Admitted {
    let bits = tables.address(&headers.key.dst);
    let nobodys = bits & (ADDRESS_CLUSTER_IP | ADDRESS_EXTERNAL) != 0 && bits & ADDRESS_OWN == 0;
    let kernels = tables.config().is_some_and(|config| config.flags & CONFIG_KERNEL_FLOWS != 0);
    if nobodys && !kernels && headers.key.proto == proto::TCP && headers.flags & RST == 0 {
        Admitted::No(Reason::NoFlow)
    } else {
        Admitted::NotOurs
    }
}

/// A packet to an address that has no such service.
#[inline(never)]
fn unserved<T: Tables>(headers: &Headers, tables: &T) -> Result<(), Reason> {
    if headers.is_connection() && !headers.opens() {
        return Ok(());
    }
    let dst = &headers.key.dst;
    let bits = tables.address(dst);
    if bits & ADDRESS_OWN != 0 {
        return Ok(()); // The node's stack knows.
    }
    if bits & ADDRESS_CLUSTER_IP != 0 {
        return Err(Reason::UndefinedPort);
    }
    match tables.config() {
        Some(config) if config.in_services(dst) => Err(Reason::Unallocated),
        _ => Ok(()),
    }
}

/// Whether the endpoint gets the client's packets as they are and answers by itself: one on another
/// node, of a service that asks for it.
#[inline(always)]
fn answers_itself(plan: &Plan, key: &FlowKey) -> bool {
    let backend = &plan.choice.backend;
    plan.service.has(SERVICE_DSR)
        && backend.flags & (BACKEND_LOCAL | BACKEND_HOST) == 0
        && backend.addr.is_v4() == key.dst.is_v4()
}

/// Writes the only entry of a flow whose replies do not come this way. Its rewrite names the endpoint
/// that packets are sent to, and changes nothing in them.
#[inline(never)]
fn direct<T: Tables, F: Flows>(key: &FlowKey, plan: &mut Plan, tables: &T, flows: &F) -> Result<(), Reason> {
    plan.src = key.src;
    plan.sport = key.sport;
    pair::write_forward(key, plan, tables);
    plan.value.state |= FLOW_FORWARD | FLOW_TRANSMIT | FLOW_DSR;
    plan.value.pseudo = key.pseudo();
    tables.count_open(plan.choice.id, true);
    pair::open(key, plan, flows)
}

/// Whether the flow gets an address of the node as its source, because replies would not come back through
/// the stack to where they are turned round. An endpoint of this node sees the client's own address.
#[inline(never)]
fn masquerade<T: Tables>(plan: &Plan, key: &FlowKey, inside: bool, tables: &T) -> bool {
    let Some(config) = tables.config() else { return false };
    let (service, backend) = (&plan.service, &plan.choice.backend);
    let all = config.flags & CONFIG_MASQUERADE_ALL != 0;
    if backend.addr.is_v4() != key.src.is_v4() {
        true // The client's address means nothing in the endpoint's family.
    } else if backend.flags & BACKEND_HOST != 0 {
        false // The stack would not take its own address from outside.
    } else if backend.addr == key.src {
        true // The endpoint reaches itself, and would answer itself.
    } else if backend.flags & BACKEND_LOCAL != 0 {
        all && !service.has(SERVICE_EXTERNAL)
    } else if service.has(SERVICE_EXTERNAL) {
        !service.has(SERVICE_EXTERNAL_LOCAL)
    } else {
        all || (config.clusters_len != 0 && !inside)
    }
}

/// Asks for the way to the endpoint: its source address is what the flow's packets get, and the next hop is
/// kept. Where Linux would check that the client is behind the interface that it came by, so do we.
#[inline(never)]
fn route<P: Packet, T: Tables>(
    packet: &mut P,
    headers: &Headers,
    plan: &mut Plan,
    tables: &T,
) -> Result<(), Reason> {
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let (key, to) = (&headers.key, plan.choice.backend.addr);
    let ingress = packet.ifindex();
    let strict =
        tables.device(ingress) & (DEVICE_STRICT_RP_FILTER | DEVICE_BRIDGE_PORT) == DEVICE_STRICT_RP_FILTER;
    if strict && headers.l3() == ETHERNET_LEN {
        plan.route = Route { src: key.dst, dst: key.src, proto: key.proto, wants_source: false };
        packet.next_hop(&plan.route, &mut plan.way).map_err(|_| Reason::BadSource)?;
        // IPv6 has no such setting: there, a client needs a way back at all, and a pod one to where it came from.
        if plan.way.ifindex != ingress && (headers.v4 || config.in_cluster(&key.src)) {
            return Err(Reason::BadSource);
        }
    }
    let own = config.snat_for(&to).copied().unwrap_or_default();
    plan.route = Route { src: own, dst: to, proto: key.proto, wants_source: true };
    packet.next_hop(&plan.route, &mut plan.way)?;
    let way = &plan.way;
    if way.ifindex == 0 {
        // An address of the node after all, whose stack takes the client's own address alone.
        plan.snat = if to.is_v4() == headers.v4 { Addr::default() } else { own };
        return Ok(());
    }
    let source = if way.source.is_zero() { tables.source(way.ifindex, to.is_v4()) } else { way.source };
    plan.snat = if source.is_zero() { own } else { source };
    if plan.snat.is_zero() {
        return Err(Reason::NoRoute);
    }
    plan.value.hop = way.hop;
    plan.value.mtu = way.mtu;
    plan.value.generation = tables.route_generation();
    if way.hop.ifindex != 0 && tables.device(way.ifindex) & DEVICE_XDP_TRANSMIT != 0 {
        plan.value.state = FLOW_XDP_HOP;
    }
    Ok(())
}

/// A request that leaves untranslated is turned towards its endpoint here. The stack knows it by the
/// Service's address, and gets replies as if they had come by the interface that it sent the request by.
#[inline(always)]
fn remember_way_back<P: Packet>(packet: &P, plan: &mut Plan) -> Result<(), Reason> {
    let [a, b, c]: [Be16; 3] = packet.read(6)?;
    plan.back = Hop { ifindex: packet.ifindex(), addresses: bytemuck::must_cast([a, b, c, a, b, c]) };
    Ok(())
}

#[inline(always)]
fn service_key(key: &FlowKey) -> ServiceKey {
    ServiceKey { addr: key.dst, port: key.dport, proto: key.proto, scope: 0, _pad: 0 }
}
