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
//! program at the interface's ingress, which does everything. The one at the egress turns round replies
//! that the stack has routed, and requests that no other program has met.
//!
//! A flow goes through the stack in both directions, or in neither: connection tracking and whoever builds
//! on it sees client and endpoint, or nothing at all.
//!
//! One long file, because it is one path: each step hands on what the verifier knows at that point, and
//! which of them are functions of their own is decided by its limits (docs/verifier.md).

use seaway_common::{
    BACKEND_SERVING, Be16, Be32, DEVICE_XDP_TRANSMIT, FLOW_AT_EGRESS, FLOW_DSR, FLOW_ESTABLISHED,
    FLOW_FORWARD, FLOW_KERNEL, FLOW_REPLIED, FLOW_SHARED, FLOW_STAND_IN, FLOW_TO_INGRESS, FLOW_TRANSMIT,
    FLOW_XDP_HOP, FlowKey, Hop, KERNEL_FLOW_S, Reason, Rewrite, Sum, flow_ended, proto,
};

use crate::fragment::Place;
use crate::headers::{Headers, Part, TCP_CHECKSUM, UDP_CHECKSUM, network, parse_v4, parse_v6};
use crate::packet::Route;
use crate::start::{self, Started};
use crate::{FlowEntry, Flows, Packet, Room, Tables, cross, fragment, icmp, tcp, tunnel};

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// XDP: what it cannot finish it leaves as it is.
    Early,
    /// Ingress of an interface: everything.
    Ingress,
    /// Egress of an interface: replies that the stack has routed, and requests of this node.
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
    /// Rewritten, with its link header: for this node's stack, as if it had arrived by this interface.
    Arrive(u32),
    /// Does not fit the way out, which takes packets of this length: the sender has to be told.
    /// No byte was changed.
    TooBig(u16),
    /// Asks a virtual address whether it is there: to be answered. No byte was changed.
    Echo,
    /// May not be forwarded once more: the sender has to be told. No byte was changed.
    Expired,
    /// A fragment that came before its first one: to be held. No byte was changed.
    Hold,
    /// A first fragment that others are held for: to be sent in again, they behind it. No byte was changed.
    Release,
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
    let code = if stage == Stage::Early {
        let Some((is_v4, l3)) = network(packet, false)? else { return Ok(Verdict::NotOurs) };
        // One variable for both: the stack has no room for two.
        let parsed = if is_v4 { parse_v4(packet, l3, false)? } else { parse_v6(packet, l3, false)? };
        let Some(mut headers) = parsed else { return Ok(Verdict::NotOurs) };
        run(packet, &mut headers, tables, (v4, v6), stage)
    } else {
        let all = |headers: &mut Headers| match parse_all(packet, headers) {
            Parsed::Whole => run(packet, headers, tables, (v4, v6), stage),
            Parsed::NotOurs => code(Done::NotOurs, 0),
            Parsed::No(reason) => code(Done::No, reason as u32),
        };
        tables.keep_headers(all).unwrap_or(code(Done::NotOurs, 0))
    };
    let (done, detail) = (code as u32, (code >> 32) as u32);
    Ok(match done {
        TRANSLATED => Verdict::Translated,
        TRANSMIT => Verdict::Transmit(detail),
        RESOLVE => Verdict::Resolve(detail),
        ARRIVE => Verdict::Arrive(detail),
        TOO_BIG => Verdict::TooBig(detail as u16),
        ECHO => Verdict::Echo,
        EXPIRED => Verdict::Expired,
        HOLD => Verdict::Hold,
        RELEASE => Verdict::Release,
        NO => return Err(Reason::of(detail).unwrap_or(Reason::Inconsistent)),
        _ => Verdict::NotOurs,
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
) -> u64 {
    if headers.v4 && !(stage == Stage::Ingress && !headers.is_icmp() && cross::crosses(headers, tables, v6)) {
        tables.translate(packet, headers, v4, stage)
    } else {
        tables.translate(packet, headers, v6, stage)
    }
}

/// Translates a packet whose headers are known. Returns a [`Done`] and the number that belongs to it.
#[inline(always)]
pub fn translate_parsed<P: Room, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &mut Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
) -> u64 {
    let mut detail = 0;
    match translate_headers(packet, headers, tables, flows, stage, &mut detail) {
        Ok(done) => code(done, detail),
        Err(reason) => code(Done::No, reason as u32),
    }
}

/// What became of a packet, in one register.
#[inline(always)]
const fn code(done: Done, detail: u32) -> u64 {
    done as u64 | (detail as u64) << 32
}

const TRANSLATED: u32 = Done::Translated as u32;
const TRANSMIT: u32 = Done::Transmit as u32;
const RESOLVE: u32 = Done::Resolve as u32;
const ARRIVE: u32 = Done::Arrive as u32;
const TOO_BIG: u32 = Done::TooBig as u32;
const ECHO: u32 = Done::Echo as u32;
const EXPIRED: u32 = Done::Expired as u32;
const HOLD: u32 = Done::Hold as u32;
const RELEASE: u32 = Done::Release as u32;
const NO: u32 = Done::No as u32;

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
    Arrive,
    TooBig,
    Echo,
    Expired,
    Hold,
    Release,
    /// The reason's number is kept beside it.
    No,
}

impl Done {
    /// From its number, and that which belongs to it.
    #[inline(always)]
    fn of(number: u32, detail: u32) -> Result<Self, Reason> {
        Ok(match number {
            TRANSLATED => Self::Translated,
            TRANSMIT => Self::Transmit,
            RESOLVE => Self::Resolve,
            ARRIVE => Self::Arrive,
            TOO_BIG => Self::TooBig,
            ECHO => Self::Echo,
            EXPIRED => Self::Expired,
            NO => return Err(Reason::of(detail).unwrap_or(Reason::Inconsistent)),
            _ => Self::NotOurs,
        })
    }
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
    if stage != Stage::Early && packet.is_translated() {
        packet.note_translated(false);
        return Ok(Done::NotOurs);
    }
    if stage != Stage::Early {
        if headers.is_icmp() {
            let code = tables.icmp(packet, headers, flows, stage);
            *detail = (code >> 32) as u32;
            return Done::of(code as u32, *detail);
        }
        if packet.is_translated() {
            packet.note_translated(false);
            return Ok(Done::NotOurs);
        }
        if headers.part != Part::Whole {
            match fragment::place(packet, headers, tables, stage) {
                Place::Flow => {}
                Place::Foreign => return Ok(Done::NotOurs),
                Place::Hold => return Ok(Done::Hold),
                Place::Release => return Ok(Done::Release),
                Place::Unknown => return Err(Reason::Fragment),
            }
        }
    }
    let known = flows.flow(&headers.key);
    let mut tracked = Tracked::Fresh;
    let flow = match known {
        Some(flow) if flow.state() & FLOW_KERNEL != 0 && kernel_has(&flow, headers, tables, flows, stage) => {
            return Ok(Done::NotOurs);
        }
        Some(flow) if (flow.state() & FLOW_AT_EGRESS != 0) != (stage == Stage::Egress) => {
            if stage == Stage::Ingress {
                // Later fragments take the same way.
                remember(headers, &flow, tables);
                lift_from_bridge(packet, tables)?;
            }
            return Ok(Done::NotOurs);
        }
        Some(flow) if headers.accepts() && flow_ended(flow.state()) => {
            // The flow has ended, so this answers a client that went to the backend itself from the
            // same port. The old entries would catch its packets. XDP leaves them to the program after
            // it, which has to come to the same end.
            if stage != Stage::Early {
                forget(&headers.key, flows);
            }
            return Ok(Done::NotOurs);
        }
        Some(flow) if stands(&flow, headers, tables) => {
            tracked = track(packet, headers, &flow, tables, flows)?;
            match tracked {
                // Looked up again, where it is now.
                Tracked::Promoted => flows.flow(&headers.key).ok_or(Reason::FlowsFull)?,
                _ => flow,
            }
        }
        _ => {
            if stage == Stage::Egress && headers.is_connection() && !headers.opens() {
                return Ok(Done::NotOurs);
            }
            headers.replaces = known.is_some();
            // Only here does XDP copy the headers: what follows is long, and rare.
            let started = if stage == Stage::Early {
                tables.keep_headers(|kept| {
                    *kept = *headers;
                    tables.start(packet, kept, flows, stage)
                })
            } else {
                Some(tables.start(packet, headers, flows, stage))
            };
            match started.unwrap_or(Started::No(Reason::Inconsistent)) {
                Started::Yes => {}
                Started::NotOurs => {
                    if stage == Stage::Egress {
                        start::note_kernel_flow(headers, tables, flows);
                    }
                    return Ok(Done::NotOurs);
                }
                Started::No(reason) => return Err(reason),
            }
            // Looked up again rather than handed over: the stack has no room for a copy.
            flows.half_open(&headers.key).ok_or(Reason::FlowsFull)?
        }
    };
    if stage != Stage::Early {
        remember(headers, &flow, tables);
    }
    let code = tables.deliver(packet, headers, &flow, stage, matches!(tracked, Tracked::Aged));
    *detail = (code >> 32) as u32;
    Done::of(code as u32, *detail)
}

/// Whether a packet of a flow that was noted as the kernel's still is one. A note is as old as the packet
/// that made it; a SYN or datagram that comes later starts a flow of its own.
#[inline(never)]
fn kernel_has<T: Tables, F: Flows>(
    flow: &F::Flow,
    headers: &Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
) -> bool {
    let now = tables.now();
    let idle = now.saturating_sub(flow.get().last_seen);
    if stage == Stage::Egress {
        flow.touch(FLOW_KERNEL, now);
        return true;
    }
    let old = idle > u64::from(KERNEL_FLOW_S) * tables.ticks_per_s();
    if old && (headers.opens() || !headers.is_connection()) {
        flows.remove_flow(&headers.key);
        return false;
    }
    true
}

/// A reply that goes through the stack, at a bridge's port: the bridge would hand it to a client on another of
/// its ports by itself, and the stack would see half of the flow. Addressed to the bridge, it is routed.
#[inline(never)]
fn lift_from_bridge<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<(), Reason> {
    let Some(bridge) = tables.bridge(packet.ifindex()) else { return Ok(()) };
    let to: [Be16; 3] = packet.read(0)?;
    if to == bridge { Ok(()) } else { packet.write(0, bridge) }
}

/// Translates an error about a packet of a flow, and says where an echo request goes. Returns what
/// [`translate_parsed`] does.
#[inline(always)]
pub fn translate_icmp<P: Room, T: Tables, F: Flows>(
    packet: &mut P,
    headers: &Headers,
    tables: &T,
    flows: &F,
    stage: Stage,
) -> u64 {
    let mut detail = 0;
    let translated = tables.keep_inner(|inner| {
        match translate_inner(packet, headers, (tables, flows), stage, inner, &mut detail) {
            Ok(done) => code(done, detail),
            Err(reason) => code(Done::No, reason as u32),
        }
    });
    translated.unwrap_or(code(Done::NotOurs, 0))
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
    if state & FLOW_KERNEL != 0 || (state & FLOW_AT_EGRESS != 0) != (stage == Stage::Egress) {
        return Ok(Done::NotOurs);
    }
    inner.to = flow.get().to;
    if stage == Stage::Ingress && state & FLOW_DSR != 0 {
        tunnel::encapsulate(packet, headers, &flow, tables)?;
    } else {
        icmp::rewrite_inner(packet, headers.v4, inner)?;
        icmp::rewrite(packet, headers, inner)?;
    }
    if state & FLOW_TRANSMIT == 0 {
        return Ok(Done::Translated);
    }
    *detail = flow.get().hop.ifindex;
    if state & FLOW_TO_INGRESS != 0 {
        return arrive(packet, flow.get().hop, stage, detail);
    }
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
    flow.state() & (FLOW_STAND_IN | FLOW_KERNEL) == 0
        || (flow.state() & FLOW_KERNEL == 0 && tables.stands_in())
}

/// Whether a SYN belongs to the flow rather than starting another one.
#[inline(always)]
fn goes_on<E: FlowEntry, T: Tables>(flow: &E, tables: &T) -> bool {
    let value = flow.get();
    !flow_ended(value.state)
        && value.state & FLOW_KERNEL == 0
        && tables.backend(value.backend).is_some_and(|backend| backend.flags & BACKEND_SERVING != 0)
}

/// Notes the ports of a first fragment.
#[inline(always)]
fn remember<E: FlowEntry, T: Tables>(headers: &mut Headers, flow: &E, tables: &T) {
    if headers.part == Part::First {
        fragment::remember(headers, &flow.get().to, tables);
    }
}

/// Rewrites the packet and sends it on its way. `moved` says that the next hop is due to be looked
/// up again. Returns what [`translate_parsed`] does.
#[inline(always)]
pub fn deliver<P: Room, E: FlowEntry, T: Tables>(
    packet: &mut P,
    headers: &Headers,
    flow: &E,
    tables: &T,
    stage: Stage,
    moved: bool,
) -> u64 {
    let mut detail = 0;
    match send_on(packet, headers, flow, tables, (stage, moved), &mut detail) {
        Ok(done) => code(done, detail),
        Err(reason) => code(Done::No, reason as u32),
    }
}

#[inline(always)]
fn send_on<P: Room, E: FlowEntry, T: Tables>(
    packet: &mut P,
    headers: &Headers,
    flow: &E,
    tables: &T,
    (stage, moved): (Stage, bool),
    detail: &mut u32,
) -> Result<Done, Reason> {
    let state = flow.state();
    if stage == Stage::Early
        && (flow.get().to.dst.is_v4() != headers.v4
            || state & FLOW_TO_INGRESS != 0
            || is_partial(packet, headers, flow)?)
    {
        return Ok(Done::NotOurs);
    }
    if state & FLOW_TO_INGRESS != 0 {
        headers.rewrite(packet, &flow.get().to, false)?;
        return arrive(packet, flow.get().hop, stage, detail);
    }
    if state & FLOW_TRANSMIT == 0 {
        count(packet, headers, flow, tables, stage);
        rewrite(packet, headers, &flow.get().to, stage, false)?;
        if stage == Stage::Ingress {
            packet.note_translated(true);
        }
        return Ok(Done::Translated);
    }
    let mut unresolved = 0;
    if moved || flow.get().hop.ifindex == 0 || flow.get().generation != tables.route_generation() {
        match look_up(packet, headers.key.proto, flow, tables, &mut unresolved) {
            Found::Hop | Found::Neighbour => {}
            Found::Stack if stage == Stage::Egress => return Err(Reason::NoRoute),
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
        return Ok(if stage == Stage::Ingress { Done::Expired } else { Done::NotOurs });
    }
    count(packet, headers, flow, tables, stage);
    if wrapped {
        tunnel::encapsulate(packet, headers, flow, tables)?;
    } else if crosses {
        cross::convert(packet, headers, flow)?;
    } else {
        rewrite(packet, headers, &value.to, stage, true)?;
    }
    if stage != Stage::Early {
        packet.note_translated(true);
    }
    if unresolved != 0 {
        *detail = unresolved;
        return Ok(Done::Resolve);
    }
    packet.write(0, value.hop.addresses)?;
    *detail = value.hop.ifindex;
    Ok(Done::Transmit)
}

/// Hands a packet to the stack as if it had arrived by the interface of `hop`.
#[inline(always)]
fn arrive<P: Packet>(packet: &mut P, hop: Hop, stage: Stage, detail: &mut u32) -> Result<Done, Reason> {
    if hop.ifindex == 0 || hop.ifindex == packet.ifindex() || stage != Stage::Ingress {
        return Ok(Done::Translated);
    }
    packet.note_translated(true);
    packet.write(0, hop.addresses)?;
    *detail = hop.ifindex;
    Ok(Done::Arrive)
}

/// Whether the sender left the transport checksum to the device, as between the ends of a veth: the sum is
/// over the pseudo-header alone, and the device that XDP would send the packet by does not make the rest. One
/// complete checksum of 65,536 looks the same; the program after XDP deals with either.
#[inline(always)]
fn is_partial<P: Packet, E: FlowEntry>(packet: &P, headers: &Headers, flow: &E) -> Result<bool, Reason> {
    let at = match headers.key.proto {
        proto::TCP => TCP_CHECKSUM,
        proto::UDP => UDP_CHECKSUM,
        _ => return Ok(false),
    };
    let checksum: u16 = packet.read(headers.l4() + at)?;
    let length = headers.wire_len(packet)? + headers.l3() - headers.l4();
    let sum = Sum::default().word(u32::from(flow.get().pseudo)).word(Be32::new(length as u32).raw());
    Ok(checksum == !sum.checksum())
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
        plan.route = Route { src, dst, proto, wants_source: false };
        if let Err(reason) = packet.next_hop(&plan.route, &mut plan.way) {
            return Found::No(reason);
        }
        let way = &plan.way;
        let mut state = flow.state() & !FLOW_XDP_HOP;
        if way.hop.ifindex != 0 && tables.device(way.ifindex) & DEVICE_XDP_TRANSMIT != 0 {
            state |= FLOW_XDP_HOP;
        }
        flow.set_hop(state, &way.hop, way.mtu, tables.route_generation());
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

/// What came of looking at a flow's entry.
#[repr(u32)]
#[derive(Clone, Copy)]
enum Tracked {
    /// Nothing that matters to its packet.
    Fresh,
    /// The next hop is due to be looked up again.
    Aged,
    /// The flow is established: its entries are elsewhere now.
    Promoted,
}

/// Brings a flow's state up to date with a packet of it. An entry that was last touched more than a second ago
/// is touched, and from time to time its pair with it, so that the LRU sees both halves in use.
#[inline(always)]
fn track<P: Packet, T: Tables, F: Flows>(
    packet: &P,
    headers: &Headers,
    flow: &F::Flow,
    tables: &T,
    flows: &F,
) -> Result<Tracked, Reason> {
    let value = flow.get();
    let mut state = value.state;
    if headers.key.proto == proto::UDP {
        if state & FLOW_FORWARD == 0 {
            state |= FLOW_REPLIED | FLOW_ESTABLISHED;
        }
    } else {
        if headers.key.proto == proto::TCP {
            tcp::note_ack(packet, headers, flow);
        }
        if tcp::matters(headers, state) {
            state = tcp::advance(packet, headers, flow, flows) as u16;
        }
    }
    // Of a flow whose replies go another way, the client's own later packets say that it stands.
    if state & FLOW_DSR != 0 && !headers.opens() {
        state |= FLOW_REPLIED | FLOW_ESTABLISHED;
    }
    let now = tables.now();
    if state == value.state && now.saturating_sub(value.last_seen) <= tables.ticks_per_s() {
        return Ok(Tracked::Fresh);
    }
    if flow_ended(state) && !flow_ended(value.state) {
        tables.count_open(value.backend, false);
    }
    flow.touch(state, now);
    let period = refresh_period(tables.ticks_per_s());
    let due = now >> period != value.last_seen >> period;
    if state & !value.state & FLOW_ESTABLISHED != 0 {
        promote(&headers.key, flow, (tables, flows), now)?;
        return Ok(Tracked::Promoted);
    }
    if state & FLOW_DSR == 0 && (due || state != value.state) {
        refresh_pair(&headers.key, flow, (tables, flows), state & FLOW_SHARED, now)?;
    }
    Ok(if due { Tracked::Aged } else { Tracked::Fresh })
}

/// The power of two ticks, about eight seconds, after which an entry's pair is touched: a fraction of every
/// default timeout, and rare enough that a million flows do not pay for it with each packet.
#[inline(always)]
fn refresh_period(ticks_per_s: u64) -> u32 {
    match ticks_per_s {
        0..=100 => 10,
        101..=300 => 11,
        301..=600 => 12,
        _ => 13,
    }
}

/// Moves both entries of a flow to the established ones.
#[inline(never)]
fn promote<T: Tables, F: Flows>(
    key: &FlowKey,
    flow: &F::Flow,
    (tables, flows): (&T, &F),
    now: u64,
) -> Result<(), Reason> {
    let moved = tables.keep_plan(|plan| {
        plan.value = flow.get();
        flows.promote_flow(key, &plan.value)?;
        if plan.value.state & FLOW_DSR != 0 {
            return Ok(());
        }
        let shared = plan.value.state & FLOW_SHARED;
        plan.reply_key = plan.value.to.reply_key(key.proto);
        match flows.flow(plan.pair_key()) {
            Some(pair) => {
                let backend = plan.value.backend;
                plan.value = pair.get();
                if plan.value.backend != backend {
                    return Ok(()); // Another flow has taken the pair's place.
                }
                plan.value.state = plan.value.state & !FLOW_SHARED | shared;
            }
            None => plan.finish_pair(key, shared, now),
        }
        flows.promote_flow(&plan.reply_key, &plan.value)
    });
    moved.unwrap_or(Err(Reason::Inconsistent))
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

/// Removes both entries of a flow, as far as no other flow has taken their places.
#[inline(never)]
pub(crate) fn forget<F: Flows>(key: &FlowKey, flows: &F) {
    if let Some(flow) = flows.flow(key) {
        let value = flow.get();
        let pair_key = value.to.reply_key(key.proto);
        if flows.flow(&pair_key).is_some_and(|pair| pair.get().backend == value.backend) {
            flows.remove_flow(&pair_key);
        }
    }
    flows.remove_flow(key);
}
