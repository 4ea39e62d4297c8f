//! Packets to services, and the replies to them.
//!
//! ```text
//! parse ─► flow known ─► track ─► rewrite ─► Translated
//!             │ no
//!             ▼
//!          service known ─► place (choose a backend, write the pair) ─► rewrite ─► Translated
//!             │ no
//!             ▼
//!          NotOurs
//! ```

use seaway_common::{
    BackendValue, FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, FlowKey, FlowValue, Reason, ServiceKey,
    ServiceValue, proto,
};

use crate::headers::{Headers, Network, network, parse_v4, parse_v6};
use crate::{FlowEntry, Flows, Packet, Tables};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Neither to a service nor a reply; no byte was changed.
    NotOurs,
    /// Addresses, ports and checksums were rewritten.
    Translated,
}

/// Backends tried for a new flow whose reply tuple is taken by another service's flow.
const COLLISION_TRIES: usize = 4;

/// Translates one packet, with the flows of its family.
///
/// # Errors
/// The reason why it could not be; [`Reason::drops`] says what to do with the packet.
#[inline(always)]
pub fn translate<P: Packet, T: Tables, V4: Flows, V6: Flows>(
    packet: &mut P,
    tables: &T,
    v4: &V4,
    v6: &V6,
) -> Result<Verdict, Reason> {
    match network(packet)? {
        Some(Network::V4) => match parse_v4(packet)? {
            Some(headers) => translate_headers(packet, &headers, tables, v4),
            None => Ok(Verdict::NotOurs),
        },
        Some(Network::V6) => match parse_v6(packet)? {
            Some(headers) => translate_headers(packet, &headers, tables, v6),
            None => Ok(Verdict::NotOurs),
        },
        None => Ok(Verdict::NotOurs),
    }
}

#[inline(always)]
fn translate_headers<P: Packet, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    tables: &T,
    flows: &F,
) -> Result<Verdict, Reason> {
    let known = flows.flow(&headers.key);
    if headers.accepts() && known.as_ref().is_some_and(|flow| flow.state() & FLOW_CLOSING != 0) {
        // The flow has ended, so this answers a client that went to the backend itself from the
        // same port. The old entries would catch its packets.
        forget(&headers.key, flows);
        return Ok(Verdict::NotOurs);
    }
    let flow = match known {
        // A SYN on a closing flow starts another one.
        Some(flow) if !headers.opens() || flow.state() & FLOW_CLOSING == 0 => {
            track(headers, &flow, tables, flows)?;
            flow
        }
        _ => {
            if !start_flow(headers, tables, flows)? {
                return Ok(Verdict::NotOurs);
            }
            // Looked up again rather than handed over: the stack has no room for a copy.
            flows.flow(&headers.key).ok_or(Reason::FlowsFull)?
        }
    };
    let value = flow.get();
    headers.rewrite(packet, &value.to)?;
    if value.state & FLOW_FORWARD != 0 {
        tables.count_packet(value.backend, packet.len());
    }
    Ok(Verdict::Translated)
}

/// Brings a flow's state up to date with a packet of it. An entry that was last touched more than
/// a second ago is touched together with its pair, so that the LRU sees both halves in use.
#[inline(always)]
fn track<T: Tables, F: Flows>(
    headers: &Headers,
    flow: &F::Flow,
    tables: &T,
    flows: &F,
) -> Result<(), Reason> {
    let value = flow.get();
    let mut state = value.state;
    if state & FLOW_FORWARD == 0 {
        state |= FLOW_ESTABLISHED;
    }
    if headers.closes() {
        state |= FLOW_CLOSING;
    }
    let now = tables.now();
    if state == value.state && now.saturating_sub(value.last_seen) <= tables.ticks_per_s() {
        return Ok(());
    }
    flow.touch(state, now);
    refresh_pair(&headers.key, flow, state ^ FLOW_FORWARD, now, flows)
}

/// Touches the pair of a flow entry, or writes it anew where the LRU dropped one half. Where another
/// flow has taken the pair's place, this entry is a leftover, and the other flow is left alone.
///
/// Not inlined, like [`start_flow`]: both are rare, and each needs a good part of the 512 bytes of
/// stack that a program and the functions it is in have together.
#[inline(never)]
fn refresh_pair<F: Flows>(
    key: &FlowKey,
    flow: &F::Flow,
    state: u16,
    now: u64,
    flows: &F,
) -> Result<(), Reason> {
    let value = flow.get();
    let pair_key = value.to.reply_key(key.proto);
    if let Some(pair) = flows.flow(&pair_key) {
        if pair.get().backend == value.backend {
            pair.touch(state, now);
        }
        return Ok(());
    }
    let pair = FlowValue { to: value.to.undo(key), state, last_seen: now, ..value };
    flows.put_flow(&pair_key, &pair)
}

/// Removes both entries of a flow, as far as no other flow has taken their places.
#[inline(never)]
fn forget<F: Flows>(key: &FlowKey, flows: &F) {
    if let Some(flow) = flows.flow(key) {
        let value = flow.get();
        let pair_key = value.to.reply_key(key.proto);
        if flows.flow(&pair_key).is_some_and(|pair| pair.get().backend == value.backend) {
            flows.remove_flow(&pair_key);
        }
    }
    flows.remove_flow(key);
}

/// Starts a flow if the packet is for a service, and says whether it is.
#[inline(never)]
fn start_flow<T: Tables, F: Flows>(headers: &Headers, tables: &T, flows: &F) -> Result<bool, Reason> {
    let key = &headers.key;
    let service_key = ServiceKey { addr: key.dst, port: key.dport, proto: key.proto, scope: 0, _pad: 0 };
    let Some(service) = tables.service(&service_key) else { return Ok(false) };
    if key.proto == proto::TCP && !headers.opens() {
        return Err(Reason::NoFlow);
    }
    let placed = place(key, &service, tables, flows);
    tables.count_connection(service.service, placed.is_ok());
    placed.map(|()| true)
}

/// Chooses a backend and writes both entries of the flow.
#[inline(always)]
fn place<T: Tables, F: Flows>(
    key: &FlowKey,
    service: &ServiceValue,
    tables: &T,
    flows: &F,
) -> Result<(), Reason> {
    let mut tries = 0;
    while tries < COLLISION_TRIES {
        tries += 1;
        let (id, backend) = choose(service, tables)?;
        let to = key.rewrite_to(key.src, key.sport, backend.addr, backend.port);
        let reply_key = to.reply_key(key.proto);
        if flows.flow(&reply_key).is_some_and(|reply| belongs_to_another(&reply.get(), key)) {
            continue;
        }
        let mut value =
            FlowValue { to: to.undo(key), backend: id, last_seen: tables.now(), ..FlowValue::default() };
        flows.put_flow(&reply_key, &value)?;
        // The opposite of the opposite: one copy on the stack instead of two.
        value.to = value.to.undo(&reply_key);
        value.state = FLOW_FORWARD;
        return flows.put_flow(key, &value);
    }
    Err(Reason::PortsExhausted)
}

/// Another virtual address may lead the same client port to the same backend: the replies could
/// not be told apart. A closing flow no longer needs its entry.
#[inline(always)]
fn belongs_to_another(reply: &FlowValue, key: &FlowKey) -> bool {
    (reply.to.src != key.dst || reply.to.sport != key.dport) && reply.state & FLOW_CLOSING == 0
}

/// A random backend of those that take this service's traffic, with its id.
///
/// A backend that was taken away since the service entry was read keeps its address for a while,
/// so it is chosen as if it had been chosen a moment earlier.
///
/// # Errors
/// [`Reason::NoEndpoint`] where there is none; [`Reason::Inconsistent`] where the slot leads to a
/// hole or to another service's backend.
#[inline(always)]
pub(crate) fn choose<T: Tables>(service: &ServiceValue, tables: &T) -> Result<(u32, BackendValue), Reason> {
    let slot = candidates(service).choose(tables.random()).ok_or(Reason::NoEndpoint)?;
    let id = tables.slot(slot).ok_or(Reason::Inconsistent)?;
    let backend = tables.backend(id).ok_or(Reason::Inconsistent)?;
    if backend.service != service.service || backend.port.raw() == 0 {
        return Err(Reason::Inconsistent);
    }
    Ok((id, backend))
}

#[inline(always)]
fn candidates(service: &ServiceValue) -> &seaway_common::Slice {
    if service.uses_local(true) { &service.local } else { &service.cluster }
}
