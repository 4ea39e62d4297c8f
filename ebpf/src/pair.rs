//! The two entries of a new flow: which source port it gets, and what becomes of packets in each direction.

use seaway_common::{
    BACKEND_IN_CLUSTER, Be16, FLOW_AT_EGRESS, FLOW_ESTABLISHED, FLOW_FORWARD, FLOW_STAND_IN, FLOW_TO_INGRESS,
    FLOW_TRANSMIT, FLOW_XDP_HOP, FlowKey, Hop, Reason, Rewrite, SERVICE_STAND_IN, flow_ended, flow_timeout_s,
    hash_flow, proto,
};

use crate::start::Plan;
use crate::translate::forget;
use crate::{FlowEntry, Flows, Tables};

/// Source ports tried for a flow. Where four of five ports are taken, one flow in 1,300 finds none.
const PORT_TRIES: u32 = 32;
/// Seconds for which a half-open flow keeps its port against others that find no free one.
const HALF_OPEN_S: u64 = 2;

/// Claims a source port and writes both entries of the flow.
#[inline(never)]
pub(crate) fn establish<T: Tables, F: Flows>(
    key: &FlowKey,
    plan: &mut Plan,
    tables: &T,
    flows: &F,
    egress: bool,
) -> Result<(), Reason> {
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let (first, last) = (u32::from(config.snat_first), u32::from(config.snat_last));
    let ports = last.saturating_sub(first) + 1;
    let keeps = plan.snat.is_zero();
    plan.src = if keeps { key.src } else { plan.snat };
    plan.spare = 0;
    plan.insists = 0;
    let mut sport = u32::from(key.sport.get());
    let start = hash_flow(key);
    if !keeps && (sport < first || sport > last) {
        sport = first + start % ports;
    }
    let mut tries = 0;
    while tries <= PORT_TRIES {
        if tries == PORT_TRIES {
            if plan.spare == 0 {
                break;
            }
            sport = plan.spare;
            plan.insists = 1;
        }
        tries += 1;
        plan.sport = Be16::new(sport as u16);
        match tables.attempt(key, plan, flows, egress) {
            Claim::Made => {
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

/// Tries to claim the port of the plan. Leaves the plan as the packet's own entry has to be if that works.
#[inline(never)]
pub fn attempt<T: Tables, F: Flows>(
    key: &FlowKey,
    plan: &mut Plan,
    tables: &T,
    flows: &F,
    egress: bool,
) -> Claim {
    write_forward(key, plan, tables);
    turn_round(key, plan, egress);
    let mut claimed = claim(plan, flows);
    if matches!(claimed, Claim::Taken) {
        match gives_way(plan, tables, flows) {
            GivesWay::Now => {
                // With the other flow's own entry: its late packets must not become this flow's.
                forget(&plan.reply_key, flows);
                claimed = claim(plan, flows);
            }
            GivesWay::IfNeeded => plan.spare = u32::from(plan.sport.get()),
            GivesWay::No => {}
        }
    }
    if matches!(claimed, Claim::Made) {
        turn_back(key, plan, egress);
    }
    claimed
}

/// Fills in what the packet becomes.
#[inline(never)]
pub(crate) fn write_forward<T: Tables>(key: &FlowKey, plan: &mut Plan, tables: &T) {
    let backend = &plan.choice.backend;
    plan.value.to = key.rewrite_to(plan.src, plan.sport, backend.addr, backend.port);
    plan.value.backend = plan.choice.id;
    plan.value.last_seen = tables.now();
}

/// From what the packet becomes to what its replies become, and their key.
#[inline(never)]
fn turn_round(key: &FlowKey, plan: &mut Plan, egress: bool) {
    plan.reply_key = plan.value.to.reply_key(key.proto);
    plan.value.to = plan.value.to.undo(key);
    plan.way.hop = plan.value.hop;
    plan.value.hop = if egress { plan.back } else { Hop::default() };
    plan.value.pseudo = plan.reply_key.pseudo();
    plan.value.state = plan.value.state & FLOW_XDP_HOP | replies(egress, &plan.reply_key, &plan.value.to);
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

/// Whether the flow that has the reply's entry gives way to another.
enum GivesWay {
    Now,
    IfNeeded,
    No,
}

/// A flow gives way when it is this client's own from before, or has been idle for longer than its state
/// allows; and if no port is free, when it has ended, or nobody has answered its handshake.
#[inline(never)]
fn gives_way<T: Tables, F: Flows>(plan: &Plan, tables: &T, flows: &F) -> GivesWay {
    let Some(reply) = flows.flow(&plan.reply_key) else { return GivesWay::Now };
    let value = reply.get();
    let (found, own) = (value.to, &plan.value.to);
    if found.src == own.src && found.dst == own.dst && found.sport == own.sport && found.dport == own.dport {
        return GivesWay::Now;
    }
    let Some(config) = tables.config() else { return GivesWay::No };
    let (proto, per_s) = (plan.reply_key.proto, tables.ticks_per_s());
    let idle = tables.now().saturating_sub(value.last_seen);
    if idle > u64::from(flow_timeout_s(config, proto, value.state)) * per_s {
        GivesWay::Now
    } else if flow_ended(value.state) || (value.state & FLOW_ESTABLISHED == 0 && idle > HALF_OPEN_S * per_s) {
        if plan.insists != 0 { GivesWay::Now } else { GivesWay::IfNeeded }
    } else {
        GivesWay::No
    }
}

/// The opposite of the opposite: what the packet becomes.
#[inline(never)]
fn turn_back(key: &FlowKey, plan: &mut Plan, egress: bool) {
    plan.value.to = plan.value.to.undo(&plan.reply_key);
    plan.value.hop = plan.way.hop;
    plan.value.pseudo = key.pseudo();
    plan.value.state = plan.value.state & FLOW_XDP_HOP | requests(egress, key, &plan.value.to);
    // Connections end with the server by themselves.
    let own = plan.choice.backend.flags & BACKEND_IN_CLUSTER == 0;
    if plan.service.has(SERVICE_STAND_IN) && own && key.proto == proto::UDP {
        plan.value.state |= FLOW_STAND_IN;
    }
}

/// Writes the packet's own entry.
#[inline(never)]
pub(crate) fn open<F: Flows>(key: &FlowKey, plan: &Plan, flows: &F) -> Result<(), Reason> {
    flows.put_flow(key, &plan.value)
}

/// What came of a source port.
pub enum Claim {
    /// The flow has it.
    Made,
    /// Another flow has it.
    Taken,
    /// The tables take no entry.
    No(Reason),
}

impl Claim {
    /// As a number that fits a register.
    #[inline(always)]
    pub fn code(self) -> u64 {
        match self {
            Self::Taken => 0,
            Self::Made => 1,
            Self::No(reason) => 2 + u64::from(reason as u32),
        }
    }

    /// From that number.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn of(code: u64) -> Self {
        match code {
            0 => Self::Taken,
            1 => Self::Made,
            reason => Self::No(Reason::of((reason - 2) as u32).unwrap_or(Reason::Inconsistent)),
        }
    }
}

/// The bits of a request's entry that follow from how its flow started: at an interface's egress, or at an
/// ingress. What keeps the client's address goes through the stack, whose routes and rules apply; what has the
/// node's own is transmitted, since the stack would take it for a forgery.
#[inline(always)]
pub(crate) fn requests(egress: bool, key: &FlowKey, to: &Rewrite) -> u16 {
    if egress {
        FLOW_FORWARD | FLOW_TRANSMIT | FLOW_AT_EGRESS
    } else if to.src == key.src {
        FLOW_FORWARD
    } else {
        FLOW_FORWARD | FLOW_TRANSMIT
    }
}

/// The same for replies: they go the way that requests went. The stack sees both directions of a flow, or
/// neither.
#[inline(always)]
pub(crate) fn replies(egress: bool, key: &FlowKey, to: &Rewrite) -> u16 {
    if egress {
        FLOW_TRANSMIT | FLOW_TO_INGRESS
    } else if to.dst == key.dst {
        FLOW_AT_EGRESS
    } else {
        FLOW_TRANSMIT
    }
}
