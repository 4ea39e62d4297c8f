//! Packets to services, and the replies to them.
//!
//! ```text
//! parse ─► flow known ─► track ─► deliver: rewrite, and pass up or transmit
//!             │ no
//!             ▼
//!          service known ─► start (choose, claim a port, write the pair) ─► deliver
//!             │ no
//!             ▼
//!          NotOurs
//! ```
//!
//! Three programs run this. XDP comes first and leaves what it cannot finish, untouched, to the
//! program at the interface's ingress, which does everything. The one at the egress translates what
//! this node's own sockets answer.
//!
//! One long file, because it is one path: each step hands on what the verifier knows at that point, and
//! which of them are functions of their own is decided by its limits (docs/verifier.md).

use seaway_common::{
    BACKEND_SERVING, DEVICE_XDP_TRANSMIT, FLOW_CLOSING, FLOW_DSR, FLOW_ESTABLISHED, FLOW_FORWARD,
    FLOW_SHARED, FLOW_STAND_IN, FLOW_TRANSMIT, FLOW_XDP_HOP, FlowKey, Reason, Rewrite,
};

use crate::headers::{Headers, Part, network, parse_v4, parse_v6};
use crate::packet::Route;
use crate::start::{self, Started};
use crate::{FlowEntry, Flows, Packet, Room, Tables, cross, fragment, icmp, tunnel};

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: what it cannot finish it leaves as it is.
    Early,
    /// Ingress of an interface: everything.
    Ingress,
    /// Egress of an interface: replies of this node's own sockets.
    Egress,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Neither to a service nor a reply, or left to a later program; no byte was changed.
    NotOurs,
    /// Addresses, ports and checksums were rewritten; the node's stack takes it on.
    Translated,
    /// Rewritten, with its link header: to be sent by the interface of this index.
    Transmit(u32),
    /// Rewritten, but the neighbour is not known yet: to be sent by this interface once it is.
    Resolve(u32),
    /// Does not fit the way out, which takes packets of this length: the sender has to be told.
    /// No byte was changed.
    TooBig(u16),
    /// Asks a virtual address whether it is there: to be answered. No byte was changed.
    Echo,
}

/// Translates one packet, with the flows of its family.
///
/// # Errors
/// The reason why it could not be; [`Reason::action`] says what to do with the packet.
#[inline(always)]
pub fn translate<P: Room, T: Tables, V4: Flows, V6: Flows>(
    packet: &mut P,
    tables: &T,
    v4: &V4,
    v6: &V6,
    stage: Stage,
) -> Result<Verdict, Reason> {
    let mut detail = 0;
    let done = if stage == Stage::Early {
        let Some((is_v4, l3)) = network(packet, false)? else { return Ok(Verdict::NotOurs) };
        // One variable for both: the stack has no room for two.
        let parsed = if is_v4 { parse_v4(packet, l3, false)? } else { parse_v6(packet, l3, false)? };
        let Some(mut headers) = parsed else { return Ok(Verdict::NotOurs) };
        run(packet, &mut headers, tables, (v4, v6), stage, &mut detail)
    } else {
        let all = |headers: &mut Headers| match parse_all(packet, headers) {
            Parsed::Whole => run(packet, headers, tables, (v4, v6), stage, &mut detail),
            Parsed::NotOurs => Ok(Done::NotOurs),
            Parsed::No(reason) => Err(reason),
        };
        tables.keep_headers(all).unwrap_or(Err(Reason::Inconsistent))
    };
    done.map(|done| match done {
        Done::NotOurs => Verdict::NotOurs,
        Done::Translated => Verdict::Translated,
        Done::Transmit => Verdict::Transmit(detail),
        Done::Resolve => Verdict::Resolve(detail),
        Done::TooBig => Verdict::TooBig(detail as u16),
        Done::Echo => Verdict::Echo,
    })
}

/// With the flows of the packet's family.
#[inline(always)]
fn run<P: Room, T: Tables, V4: Flows, V6: Flows>(
    packet: &mut P,
    headers: &mut Headers,
    tables: &T,
    (v4, v6): (&V4, &V6),
    stage: Stage,
    detail: &mut u32,
) -> Result<Done, Reason> {
    if headers.v4 && !(stage == Stage::Ingress && !headers.is_icmp() && cross::crosses(headers, tables, v6)) {
        translate_headers(packet, headers, tables, v4, stage, detail)
    } else {
        translate_headers(packet, headers, tables, v6, stage, detail)
    }
}

/// What the headers of a packet are.
enum Parsed {
    Whole,
    NotOurs,
    No(Reason),
}

/// Reads all kinds of headers: behind tags, options and extension headers too.
#[inline(never)]
fn parse_all<P: Packet>(packet: &P, headers: &mut Headers) -> Parsed {
    let (is_v4, l3) = match network(packet, true) {
        Ok(Some(found)) => found,
        Ok(None) => return Parsed::NotOurs,
        Err(reason) => return Parsed::No(reason),
    };
    let parsed = if is_v4 { parse_v4(packet, l3, true) } else { parse_v6(packet, l3, true) };
    match parsed {
        Ok(Some(found)) => {
            *headers = found;
            Parsed::Whole
        }
        Ok(None) => Parsed::NotOurs,
        Err(reason) => Parsed::No(reason),
    }
}

/// A verdict without its number, which is kept beside it. A result of this and a reason fills the
/// registers that it comes in, whatever it says: half of one that means nothing, and was never
/// written, is more than the verifier lets pass.
#[repr(u32)]
#[derive(Clone, Copy)]
enum Done {
    NotOurs,
    Translated,
    Transmit,
    Resolve,
    TooBig,
    Echo,
}

#[inline(always)]
fn translate_headers<P: Room, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &mut Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
    detail: &mut u32,
) -> Result<Done, Reason> {
    if stage != Stage::Early {
        if headers.is_icmp() {
            return translate_icmp(packet, headers, tables, flows, stage, detail);
        }
        if headers.part == Part::Later {
            fragment::recall(headers, tables)?;
        }
    }
    let mut moved = false;
    let known = flows.flow(&headers.key);
    if stage == Stage::Egress {
        return match known {
            Some(flow) if flow.state() & FLOW_FORWARD == 0 => {
                track(headers, &flow, tables, flows)?;
                remember(headers, tables);
                headers.rewrite(packet, &flow.get().to, false)?;
                Ok(Done::Translated)
            }
            Some(_) => Ok(Done::NotOurs),
            None => start::guard(headers, tables).map(|()| Done::NotOurs),
        };
    }
    if headers.accepts() && known.as_ref().is_some_and(|flow| flow.state() & FLOW_CLOSING != 0) {
        // The flow has ended, so this answers a client that went to the backend itself from the
        // same port. The old entries would catch its packets. XDP leaves them to the program after
        // it, which has to come to the same end.
        if stage != Stage::Early {
            forget(&headers.key, flows);
        }
        return Ok(Done::NotOurs);
    }
    let flow = match known {
        Some(flow) if stands(&flow, headers, tables) => {
            moved = track(headers, &flow, tables, flows)?;
            flow
        }
        _ => {
            // Only here does XDP copy the headers: what follows is long, and rare.
            let started = if stage == Stage::Early {
                tables.keep_headers(|kept| {
                    *kept = *headers;
                    start::flow(kept, tables, flows, stage)
                })
            } else {
                Some(start::flow(headers, tables, flows, stage))
            };
            match started.unwrap_or(Started::No(Reason::Inconsistent)) {
                Started::Yes => {}
                Started::NotOurs => return Ok(Done::NotOurs),
                Started::No(reason) => return Err(reason),
            }
            // Looked up again rather than handed over: the stack has no room for a copy.
            flows.flow(&headers.key).ok_or(Reason::FlowsFull)?
        }
    };
    if stage != Stage::Early {
        remember(headers, tables);
    }
    deliver(packet, headers, &flow, tables, (stage, moved), detail)
}

/// Translates an error about a packet of a flow, and says where an echo request goes.
#[inline(always)]
fn translate_icmp<P: Room, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
    detail: &mut u32,
) -> Result<Done, Reason> {
    let translated =
        tables.keep_inner(|inner| translate_inner(packet, headers, (tables, flows), stage, inner, detail));
    translated.unwrap_or(Err(Reason::Inconsistent))
}

#[inline(always)]
fn translate_inner<P: Room, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    (tables, flows): (&T, &F),
    stage: Stage,
    inner: &mut icmp::Inner,
    detail: &mut u32,
) -> Result<Done, Reason> {
    match icmp::read(packet, headers, tables, stage, inner) {
        icmp::Message::NotOurs => return Ok(Done::NotOurs),
        icmp::Message::Echo => return Ok(Done::Echo),
        icmp::Message::No(reason) => return Err(reason),
        icmp::Message::Error => {}
    }
    let Some(flow) = flows.flow(&inner.reversed) else { return Ok(Done::NotOurs) };
    let state = flow.state();
    if stage == Stage::Egress && state & FLOW_FORWARD != 0 {
        return Ok(Done::NotOurs);
    }
    inner.to = flow.get().to;
    if stage == Stage::Ingress && state & FLOW_DSR != 0 {
        tunnel::encapsulate(packet, headers, &flow, tables)?;
    } else {
        icmp::rewrite_inner(packet, headers.v4, inner)?;
        icmp::rewrite(packet, headers, inner)?;
    }
    if stage == Stage::Egress || state & FLOW_TRANSMIT == 0 {
        return Ok(Done::Translated);
    }
    *detail = flow.get().hop.ifindex;
    if *detail == 0 {
        match look_up(packet, inner.reversed.proto, &flow, tables, detail) {
            Found::Hop => *detail = flow.get().hop.ifindex,
            Found::Neighbour => {}
            Found::Stack => return Ok(Done::Translated),
            Found::No(reason) => return Err(reason),
        }
    }
    Ok(Done::Resolve)
}

/// Whether a packet belongs to the flow rather than starting another one.
#[inline(always)]
fn stands<E: FlowEntry, T: Tables>(flow: &E, headers: &Headers, tables: &T) -> bool {
    if headers.opens() {
        return goes_on(flow, tables);
    }
    flow.state() & FLOW_STAND_IN == 0 || tables.stands_in()
}

/// Whether a SYN belongs to the flow rather than starting another one.
#[inline(always)]
fn goes_on<E: FlowEntry, T: Tables>(flow: &E, tables: &T) -> bool {
    let value = flow.get();
    value.state & FLOW_CLOSING == 0
        && tables.backend(value.backend).is_some_and(|backend| backend.flags & BACKEND_SERVING != 0)
}

/// Notes the ports of a first fragment.
#[inline(always)]
fn remember<T: Tables>(headers: &Headers, tables: &T) {
    if headers.part == Part::First {
        fragment::remember(headers, tables);
    }
}

/// Rewrites the packet and sends it on its way. `moved` says that the next hop is due to be looked
/// up again.
#[inline(always)]
fn deliver<P: Room, E: FlowEntry, T: Tables>(
    packet: &mut P,
    headers: &Headers,
    flow: &E,
    tables: &T,
    (stage, moved): (Stage, bool),
    detail: &mut u32,
) -> Result<Done, Reason> {
    let state = flow.state();
    if stage == Stage::Early && flow.get().to.dst.is_v4() != headers.v4 {
        return Ok(Done::NotOurs);
    }
    if state & FLOW_TRANSMIT == 0 {
        count(packet, headers, flow, tables, stage);
        rewrite(packet, headers, &flow.get().to, stage, false)?;
        return Ok(Done::Translated);
    }
    let mut unresolved = 0;
    if moved || flow.get().hop.ifindex == 0 {
        match look_up(packet, headers.key.proto, flow, tables, &mut unresolved) {
            Found::Hop | Found::Neighbour => {}
            Found::Stack if stage != Stage::Early => {
                count(packet, headers, flow, tables, stage);
                headers.rewrite(packet, &flow.get().to, false)?;
                return Ok(Done::Translated);
            }
            Found::No(reason) if stage != Stage::Early => return Err(reason),
            _ => return Ok(Done::NotOurs),
        }
    }
    let value = flow.get();
    if stage == Stage::Early && (unresolved != 0 || value.state & FLOW_XDP_HOP == 0) {
        return Ok(Done::NotOurs);
    }
    let wrapped = value.state & FLOW_DSR != 0;
    let crosses = stage == Stage::Ingress && value.to.dst.is_v4() != headers.v4;
    let overhead = match (wrapped, crosses && headers.v4) {
        (true, _) => tunnel::overhead(headers.v4),
        (false, true) => cross::LONGER,
        (false, false) => 0,
    };
    let length = headers.wire_len(packet)?;
    if stage == Stage::Early && headers.l3() + length > packet.len() {
        // In several buffers, which not every device transmits from XDP.
        return Ok(Done::NotOurs);
    }
    if value.mtu != 0 && length + overhead > usize::from(value.mtu) {
        *detail = u32::from(value.mtu) - overhead as u32;
        return Ok(if stage == Stage::Early { Done::NotOurs } else { Done::TooBig });
    }
    if headers.hops_left(packet)? <= 1 {
        // The stack tells the sender.
        return Ok(Done::NotOurs);
    }
    count(packet, headers, flow, tables, stage);
    if wrapped {
        tunnel::encapsulate(packet, headers, flow, tables)?;
    } else if crosses {
        cross::convert(packet, headers, flow)?;
    } else {
        rewrite(packet, headers, &value.to, stage, true)?;
    }
    if unresolved != 0 {
        *detail = unresolved;
        return Ok(Done::Resolve);
    }
    packet.write(0, value.hop.addresses)?;
    *detail = value.hop.ifindex;
    Ok(Done::Transmit)
}

#[inline(always)]
fn rewrite<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    to: &Rewrite,
    stage: Stage,
    forward: bool,
) -> Result<(), Reason> {
    match stage {
        Stage::Early => headers.rewrite_inlined(packet, to, forward),
        _ => headers.rewrite(packet, to, forward),
    }
}

#[inline(always)]
fn count<P: Packet, E: FlowEntry, T: Tables>(
    packet: &P,
    headers: &Headers,
    flow: &E,
    tables: &T,
    stage: Stage,
) {
    if flow.state() & FLOW_FORWARD != 0 && !headers.is_icmp() {
        // What XDP reads at once may be less than the packet.
        let length = match (stage, headers.wire_len(packet)) {
            (Stage::Early, Ok(length)) => headers.l3() + length,
            _ => packet.len(),
        };
        tables.count_packet(flow.get().backend, length);
    }
}

/// What the kernel says of the way.
enum Found {
    /// The flow has its next hop now.
    Hop,
    /// The interface is known, the neighbour behind it is not.
    Neighbour,
    /// The packet is for this node itself.
    Stack,
    /// There is no way.
    No(Reason),
}

/// Looks up the next hop of a flow's packets, and keeps it in the flow.
#[inline(never)]
fn look_up<P: Packet, E: FlowEntry, T: Tables>(
    packet: &mut P,
    proto: u8,
    flow: &E,
    tables: &T,
    unresolved: &mut u32,
) -> Found {
    let found = tables.keep_plan(|plan| {
        // Kept there rather than on the stack, which has no room for them.
        let Rewrite { src, dst, .. } = flow.get().to;
        plan.route = Route { src, dst, proto };
        if let Err(reason) = packet.next_hop(&plan.route, &mut plan.way) {
            return Found::No(reason);
        }
        let way = &plan.way;
        let mut state = flow.state() & !FLOW_XDP_HOP;
        if way.hop.ifindex != 0 && tables.device(way.ifindex) & DEVICE_XDP_TRANSMIT != 0 {
            state |= FLOW_XDP_HOP;
        }
        flow.set_hop(state, &way.hop, way.mtu);
        if way.ifindex == 0 {
            Found::Stack
        } else if way.hop.ifindex == 0 {
            *unresolved = way.ifindex;
            Found::Neighbour
        } else {
            Found::Hop
        }
    });
    found.unwrap_or(Found::No(Reason::Inconsistent))
}

/// Brings a flow's state up to date with a packet of it. An entry that was last touched more than
/// a second ago is touched together with its pair, so that the LRU sees both halves in use; then
/// the next hop is due too.
#[inline(always)]
fn track<T: Tables, F: Flows>(
    headers: &Headers,
    flow: &F::Flow,
    tables: &T,
    flows: &F,
) -> Result<bool, Reason> {
    let value = flow.get();
    let mut state = value.state;
    // Of a flow whose replies go another way, the client's own later packets say that it stands.
    if state & FLOW_FORWARD == 0 || (state & FLOW_DSR != 0 && !headers.opens()) {
        state |= FLOW_ESTABLISHED;
    }
    if headers.closes() {
        state |= FLOW_CLOSING;
    }
    let now = tables.now();
    let aged = now.saturating_sub(value.last_seen) > tables.ticks_per_s();
    if state == value.state && !aged {
        return Ok(false);
    }
    if state & !value.state & FLOW_CLOSING != 0 {
        tables.count_open(value.backend, false);
    }
    flow.touch(state, now);
    if state & FLOW_DSR == 0 {
        refresh_pair(&headers.key, flow, (tables, flows), state & FLOW_SHARED, now)?;
    }
    Ok(aged)
}

/// Touches the pair of a flow entry, or writes it anew where the LRU dropped one half. Where another
/// flow has taken the pair's place, this entry is a leftover, and the other flow is left alone.
///
/// Not inlined, like [`start::flow`]: both are rare, and each needs a good part of the 512 bytes of
/// stack that a program and the functions it is in have together.
#[inline(never)]
fn refresh_pair<T: Tables, F: Flows>(
    key: &FlowKey,
    flow: &F::Flow,
    (tables, flows): (&T, &F),
    shared: u16,
    now: u64,
) -> Result<(), Reason> {
    let remade = tables.keep_plan(|plan| {
        plan.set_pair(key, &flow.get());
        if let Some(pair) = flows.flow(plan.pair_key()) {
            let (backend, state) = (pair.get().backend, pair.state());
            if backend == flow.get().backend {
                pair.touch(state & !FLOW_SHARED | shared, now);
            }
            return Ok(());
        }
        plan.finish_pair(key, shared, now);
        start::put_pair(plan, flows)
    });
    remade.unwrap_or(Err(Reason::Inconsistent))
}

/// The bits of a flow entry that follow from its direction. Replies are always transmitted: their
/// source is an address that the node's stack may have its own ideas about. Packets towards the
/// backend are where they carry the node's own address.
#[inline(always)]
pub(crate) fn direction(forward: bool, key: &FlowKey, to: &Rewrite) -> u16 {
    match (forward, to.src == key.src) {
        (true, true) => FLOW_FORWARD,
        (true, false) => FLOW_FORWARD | FLOW_TRANSMIT,
        (false, _) => FLOW_TRANSMIT,
    }
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
