//! The first packet of a flow: is it for a service, may it use it, and what becomes of it.

use seaway_common::{
    ADDRESS_CLUSTER_IP, ADDRESS_OWN, BACKEND_HOST, BACKEND_IN_CLUSTER, BACKEND_LOCAL, CONFIG_MASQUERADE_ALL,
    FLOW_CLOSING, FLOW_DSR, FLOW_FORWARD, FLOW_STAND_IN, FLOW_TRANSMIT, FlowKey, FlowValue, Hop, Reason,
    SERVICE_CROSS, SERVICE_DSR, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED, SERVICE_LOOPBACK,
    SERVICE_STAND_IN, ServiceKey, ServiceValue, hash_flow, proto,
};
use seaway_common::{Addr, Be16};

use crate::headers::Headers;
use crate::packet::{Route, Way};
use crate::select::{Choice, select};
use crate::translate::{Stage, direction};
use crate::{FlowEntry, Flows, Tables};

/// Source ports tried for a flow.
const PORT_TRIES: u32 = 8;

/// What a new flow gets.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    service: ServiceValue,
    choice: Choice,
    /// New source address; zero keeps the client's.
    snat: Addr,
    /// The source that is tried.
    src: Addr,
    /// Its port.
    sport: Be16,
    /// The tuple of replies, and the entry under it.
    reply_key: FlowKey,
    value: FlowValue,
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
        self.value.to = self.value.to.undo(key);
        self.value.state = direction(forward, &self.reply_key, &self.value.to) | shared;
        self.value.last_seen = now;
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
pub(crate) fn flow<T: Tables, F: Flows>(headers: &Headers, tables: &T, flows: &F, stage: Stage) -> Started {
    tables
        .keep_plan(|plan| follow(headers, tables, flows, stage, plan))
        .unwrap_or(Started::No(Reason::Inconsistent))
}

#[inline(always)]
fn follow<T: Tables, F: Flows>(
    headers: &Headers,
    tables: &T,
    flows: &F,
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
    let inside = match admit(headers, &plan.service, tables) {
        Admitted::Inside => true,
        Admitted::Outside => false,
        Admitted::No(reason) => return Started::No(reason),
    };
    let selected = select(&plan.service, &headers.key, inside, tables, &mut plan.choice);
    tables.count_connection(plan.service.service, selected.is_ok());
    if let Err(reason) = selected {
        return Started::No(reason);
    }
    if answers_itself(plan, &headers.key) {
        return match direct(&headers.key, plan, tables, flows) {
            Ok(()) => Started::Yes,
            Err(reason) => Started::No(reason),
        };
    }
    if let Err(reason) = masquerade(plan, &headers.key, inside, tables) {
        return Started::No(reason);
    }
    match establish(&headers.key, plan, tables, flows) {
        Ok(()) => Started::Yes,
        Err(reason) => Started::No(reason),
    }
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
pub(crate) enum Started {
    /// It has a flow now.
    Yes,
    /// It is not for a service.
    NotOurs,
    /// It is not let through.
    No(Reason),
}

/// Whether a client is let in.
enum Admitted {
    Inside,
    Outside,
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

/// At the egress: this node's own sockets were translated when they connected. What still carries a
/// service's address was not let through there, and must not leave.
#[inline(never)]
pub(crate) fn guard<T: Tables>(headers: &Headers, tables: &T) -> Result<(), Reason> {
    if headers.is_connection() && !headers.opens() {
        return Ok(());
    }
    let key = service_key(&headers.key);
    let Some(service) = tables.service(&key) else {
        return unserved(headers, tables);
    };
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    if service.has(SERVICE_GUARDED) && !tables.in_source_ranges(service.service, &headers.key.src) {
        return Err(Reason::SourceRange);
    }
    // Addresses of this node lead to its own stack where no program is in between.
    if config.snat_v4 == key.addr || config.snat_v6 == key.addr {
        return Ok(());
    }
    Err(Reason::NoLocalEndpoint)
}

/// Whether a service's client is let in. Says whether it is inside of the cluster.
#[inline(never)]
fn admit<T: Tables>(headers: &Headers, service: &ServiceValue, tables: &T) -> Admitted {
    let key = &headers.key;
    if key.src == key.dst || !key.src.is_unicast() {
        return Admitted::No(Reason::BadSource);
    }
    if headers.is_connection() && !headers.opens() {
        return Admitted::No(Reason::NoFlow);
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
    write_forward(key, plan, tables);
    plan.value.state = FLOW_FORWARD | FLOW_TRANSMIT | FLOW_DSR;
    tables.count_open(plan.choice.id, true);
    open(key, plan, flows)
}

/// Gives the flow the node's address as its source where replies might not come back this way; never
/// towards the node itself, whose stack would not take its own address from outside.
#[inline(never)]
fn masquerade<T: Tables>(plan: &mut Plan, key: &FlowKey, inside: bool, tables: &T) -> Result<(), Reason> {
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let (service, backend) = (&plan.service, &plan.choice.backend);
    let crosses = backend.addr.is_v4() != key.src.is_v4();
    let masquerades = if crosses {
        true // The client's address means nothing in the endpoint's family.
    } else if backend.flags & BACKEND_HOST != 0 {
        false
    } else if backend.addr == key.src {
        true // The endpoint reaches itself, and would answer itself.
    } else if service.has(SERVICE_EXTERNAL) {
        !service.has(SERVICE_EXTERNAL_LOCAL)
    } else {
        config.flags & CONFIG_MASQUERADE_ALL != 0 || (config.clusters_len != 0 && !inside)
    };
    plan.snat =
        if masquerades { *config.snat_for(&backend.addr).ok_or(Reason::NoRoute)? } else { Addr::default() };
    Ok(())
}

/// Claims a source port and writes both entries of the flow.
#[inline(never)]
fn establish<T: Tables, F: Flows>(
    key: &FlowKey,
    plan: &mut Plan,
    tables: &T,
    flows: &F,
) -> Result<(), Reason> {
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let (first, last) = (u32::from(config.snat_first), u32::from(config.snat_last));
    let ports = last.saturating_sub(first) + 1;
    let keeps = plan.snat.is_zero();
    plan.src = if keeps { key.src } else { plan.snat };
    let mut sport = u32::from(key.sport.get());
    let start = hash_flow(key);
    if !keeps && (sport < first || sport > last) {
        sport = first + start % ports;
    }
    let mut tries = 0;
    while tries < PORT_TRIES {
        tries += 1;
        plan.sport = Be16::new(sport as u16);
        write_forward(key, plan, tables);
        turn_round(key, plan);
        let mut claimed = claim(plan, flows);
        if matches!(claimed, Claim::Taken) && is_free(plan, flows) {
            claimed = match put_pair(plan, flows) {
                Ok(()) => Claim::Made,
                Err(reason) => Claim::No(reason),
            };
        }
        match claimed {
            Claim::Made => {
                turn_back(key, plan);
                tables.count_open(plan.choice.id, true);
                return open(key, plan, flows);
            }
            Claim::Taken => {}
            Claim::No(reason) => return Err(reason),
        }
        // Steps that grow: neighbouring clients part after the first.
        sport = first + (start % ports + tries * tries) % ports;
    }
    Err(Reason::PortsExhausted)
}

/// Fills in what the packet becomes.
#[inline(never)]
fn write_forward<T: Tables>(key: &FlowKey, plan: &mut Plan, tables: &T) {
    let backend = &plan.choice.backend;
    plan.value.to = key.rewrite_to(plan.src, plan.sport, backend.addr, backend.port);
    plan.value.hop = Hop::default();
    plan.value.mtu = 0;
    plan.value.backend = plan.choice.id;
    plan.value.last_seen = tables.now();
}

/// From what the packet becomes to what its replies become, and their key.
#[inline(never)]
fn turn_round(key: &FlowKey, plan: &mut Plan) {
    plan.reply_key = plan.value.to.reply_key(key.proto);
    plan.value.to = plan.value.to.undo(key);
    plan.value.state = direction(false, &plan.reply_key, &plan.value.to);
}

/// Writes the reply's entry where there is none.
#[inline(never)]
fn claim<F: Flows>(plan: &Plan, flows: &F) -> Claim {
    match flows.claim_flow(&plan.reply_key, &plan.value) {
        Ok(true) => Claim::Made,
        Ok(false) => Claim::Taken,
        Err(reason) => Claim::No(reason),
    }
}

/// Whether the reply's entry may be taken over: it is this client's own from before, or that of a
/// flow that is closing.
#[inline(never)]
fn is_free<F: Flows>(plan: &Plan, flows: &F) -> bool {
    let Some(reply) = flows.flow(&plan.reply_key) else { return false };
    if reply.state() & FLOW_CLOSING != 0 {
        return true;
    }
    let (found, own) = (reply.get().to, &plan.value.to);
    found.src == own.src && found.dst == own.dst && found.sport == own.sport && found.dport == own.dport
}

/// The opposite of the opposite: what the packet becomes.
#[inline(never)]
fn turn_back(key: &FlowKey, plan: &mut Plan) {
    plan.value.to = plan.value.to.undo(&plan.reply_key);
    plan.value.state = direction(true, key, &plan.value.to);
    // Connections end with the server by themselves.
    let own = plan.choice.backend.flags & BACKEND_IN_CLUSTER == 0;
    if plan.service.has(SERVICE_STAND_IN) && own && key.proto == proto::UDP {
        plan.value.state |= FLOW_STAND_IN;
    }
}

/// Writes the packet's own entry.
#[inline(never)]
fn open<F: Flows>(key: &FlowKey, plan: &Plan, flows: &F) -> Result<(), Reason> {
    flows.put_flow(key, &plan.value)
}

/// What came of a source port.
enum Claim {
    Made,
    Taken,
    No(Reason),
}

#[inline(always)]
fn service_key(key: &FlowKey) -> ServiceKey {
    ServiceKey { addr: key.dst, port: key.dport, proto: key.proto, scope: 0, _pad: 0 }
}
