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
    BackendValue, FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, FLOW_REFRESH_NS, FlowKey, FlowValue, Reason, ServiceKey, ServiceValue, proto,
};

use crate::{FlowEntry, Headers, Packet, Tables, parse};

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

/// Translates one packet.
///
/// # Errors
/// The reason why it could not be; [`Reason::drops`] says what to do with the packet.
#[inline(always)]
pub fn translate<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<Verdict, Reason> {
    let Some(headers) = parse(packet)? else { return Ok(Verdict::NotOurs) };
    let flow = match tables.flow(&headers.key) {
        // A SYN on a closing flow starts another one.
        Some(flow) if !headers.opens() || flow.state() & FLOW_CLOSING == 0 => {
            track(&headers, &flow, tables)?;
            flow
        }
        _ => {
            if !start_flow(&headers, tables)? {
                return Ok(Verdict::NotOurs);
            }
            // Looked up again rather than handed over: the stack has no room for a copy.
            tables.flow(&headers.key).ok_or(Reason::FlowsFull)?
        }
    };
    let value = flow.get();
    headers.rewrite(packet, &value.to)?;
    if value.state & FLOW_FORWARD != 0 {
        tables.count_packet(value.backend, packet.len());
    }
    Ok(Verdict::Translated)
}

/// Brings a flow's state up to date with a packet of it.
#[inline(always)]
fn track<T: Tables>(headers: &Headers, flow: &T::Flow, tables: &T) -> Result<(), Reason> {
    let value = flow.get();
    let mut state = value.state;
    if state & FLOW_FORWARD == 0 {
        state |= FLOW_ESTABLISHED;
    }
    if headers.closes() {
        state |= FLOW_CLOSING;
    }
    let now = tables.now_ns();
    if state == value.state && now.saturating_sub(value.last_seen_ns) <= FLOW_REFRESH_NS {
        return Ok(());
    }
    flow.touch(state, now);
    refresh_pair(&headers.key, flow, state ^ FLOW_FORWARD, tables)
}

/// Touches the pair of a flow entry, or writes it anew where the LRU dropped one half.
///
/// Not inlined, like [`start_flow`]: both are rare, and each needs a good part of the 512 bytes of
/// stack that a program and the functions it is in have together.
#[inline(never)]
fn refresh_pair<T: Tables>(key: &FlowKey, flow: &T::Flow, state: u32, tables: &T) -> Result<(), Reason> {
    let value = flow.get();
    let now = tables.now_ns();
    let pair_key = value.to.reply_key(key.proto);
    if let Some(pair) = tables.flow(&pair_key) {
        pair.touch(state, now);
        return Ok(());
    }
    let pair = FlowValue { to: value.to.undo(key), state, last_seen_ns: now, ..value };
    tables.put_flow(&pair_key, &pair)
}

/// Starts a flow if the packet is for a service, and says whether it is.
#[inline(never)]
fn start_flow<T: Tables>(headers: &Headers, tables: &T) -> Result<bool, Reason> {
    let key = &headers.key;
    let service_key = ServiceKey { addr: key.dst, port: key.dport, proto: key.proto, scope: 0, _pad: 0 };
    let Some(service) = tables.service(&service_key) else { return Ok(false) };
    if key.proto == proto::TCP && !headers.opens() {
        return Err(Reason::NoFlow);
    }
    let placed = place(key, &service, tables);
    tables.count_connection(service.service, placed.is_ok());
    placed.map(|()| true)
}

/// Chooses a backend and writes both entries of the flow.
#[inline(always)]
fn place<T: Tables>(key: &FlowKey, service: &ServiceValue, tables: &T) -> Result<(), Reason> {
    let mut tries = 0;
    while tries < COLLISION_TRIES {
        tries += 1;
        let (id, backend) = choose(service, tables)?;
        let to = key.rewrite_to(key.src, key.sport, backend.addr, backend.port);
        let reply_key = to.reply_key(key.proto);
        if tables.flow(&reply_key).is_some_and(|reply| belongs_to_another(&reply, key)) {
            continue;
        }
        let mut value = FlowValue {
            to: to.undo(key),
            backend: id,
            service: service.service,
            state: 0,
            _pad: 0,
            last_seen_ns: tables.now_ns(),
        };
        tables.put_flow(&reply_key, &value)?;
        // The opposite of the opposite: one copy on the stack instead of two.
        value.to = value.to.undo(&reply_key);
        value.state = FLOW_FORWARD;
        return tables.put_flow(key, &value);
    }
    Err(Reason::Collision)
}

/// Another virtual address may lead the same client port to the same backend: the replies could
/// not be told apart. A closing flow no longer needs its entry.
#[inline(always)]
fn belongs_to_another<F: FlowEntry>(reply: &F, key: &FlowKey) -> bool {
    !reply.leaves_from(&key.dst, key.dport) && reply.state() & FLOW_CLOSING == 0
}

/// A random backend of those that take this service's traffic, with its id.
///
/// # Errors
/// [`Reason::NoEndpoint`] where there is none.
#[inline(always)]
pub(crate) fn choose<T: Tables>(service: &ServiceValue, tables: &T) -> Result<(u32, BackendValue), Reason> {
    let slot = service.candidates().choose(tables.random()).ok_or(Reason::NoEndpoint)?;
    let id = tables.slot(slot).ok_or(Reason::Inconsistent)?;
    Ok((id, tables.backend(id).ok_or(Reason::Inconsistent)?))
}
