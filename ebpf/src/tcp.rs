//! What TCP's segments say of a flow's state, as connection tracking knows it.
//!
//! A FIN or RST counts only where its receiver would accept it: whoever guesses addresses and ports cannot
//! end a connection (RFC 5961, section 3.2). What the receiver expects is the acknowledgment number that it
//! sent last, which the other entry of the flow keeps.

use seaway_common::{
    Be32, FLOW_ESTABLISHED, FLOW_FIN_FORWARD, FLOW_FIN_REPLY, FLOW_FORWARD, FLOW_REPLIED, FLOW_RESET,
    FlowKey, Sum, proto,
};

use crate::headers::{ACK, FIN, Headers, RST, SYN, TCP_LEN};
use crate::{FlowEntry, Flows, Packet};

/// Offsets in the header (RFC 9293, section 3.1).
const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
/// Sequence numbers from the expected one on that a segment of the flow may have: data may be in flight before it,
/// as much as receive buffers hold by default. One number of a thousand for somebody who guesses.
const IN_FLIGHT: u32 = 4 << 20;
/// The same before the expected one: segments that are sent again.
const REPEATED: u32 = 1 << 16;
/// The longest RST whose checksum is looked at, in words: a header with all options. Nobody sends longer ones.
const RESET_WORDS: usize = 15;

/// Whether a segment may change the state of a flow: all others of an established one need no look.
#[inline(always)]
pub(crate) fn matters(headers: &Headers, state: u16) -> bool {
    headers.flags & (SYN | FIN | RST) != 0 || state & (FLOW_ESTABLISHED | FLOW_RESET) != FLOW_ESTABLISHED
}

/// Notes the acknowledgment number of a segment in its flow entry.
#[inline(always)]
pub(crate) fn note_ack<P: Packet, E: FlowEntry>(packet: &P, headers: &Headers, flow: &E) {
    if headers.flags & ACK != 0
        && let Ok(ack) = packet.read::<Be32>(headers.l4() + ACKNOWLEDGMENT)
    {
        flow.set_ack(ack);
    }
}

/// The state bits of a flow after a segment of the entry's direction. A whole register: see `Started`.
#[inline(never)]
pub(crate) fn advance<P: Packet, F: Flows>(packet: &P, headers: &Headers, flow: &F::Flow, flows: &F) -> u64 {
    let state = flow.state();
    let forward = state & FLOW_FORWARD != 0;
    let (syn, fin) = (headers.flags & SYN != 0, headers.flags & FIN != 0);
    if headers.flags & RST != 0 {
        let counts = fits(packet, headers, flow, flows) && sums_up(packet, headers);
        return u64::from(if counts { state | FLOW_RESET } else { state });
    }
    // Who goes on after its own RST did not send it.
    let mut next = if syn { state } else { state & !FLOW_RESET };
    if !forward {
        next |= FLOW_REPLIED;
    } else if !syn && state & FLOW_REPLIED != 0 {
        next |= FLOW_ESTABLISHED;
    }
    if fin && headers.key.proto != proto::TCP {
        next |= FLOW_FIN_FORWARD | FLOW_FIN_REPLY; // SCTP knows no half-closed association.
    } else if fin && fits(packet, headers, flow, flows) {
        next |= if forward { FLOW_FIN_FORWARD } else { FLOW_FIN_REPLY };
    }
    u64::from(next)
}

/// Whether the segment's sequence number is near what the other side expects. Before anything is known of
/// that, every number is.
#[inline(always)]
fn fits<P: Packet, F: Flows>(packet: &P, headers: &Headers, flow: &F::Flow, flows: &F) -> bool {
    if headers.key.proto != proto::TCP {
        return true; // SCTP's own verification tag says it to its receiver (RFC 9260, section 8.5).
    }
    let pair: FlowKey = flow.get().to.reply_key(headers.key.proto);
    let Some(pair) = flows.flow(&pair) else { return true };
    let expected = pair.get().ack.get();
    let Ok(sequence) = packet.read::<Be32>(headers.l4() + SEQUENCE) else { return false };
    expected == 0 || sequence.get().wrapping_sub(expected.wrapping_sub(REPEATED)) < REPEATED + IN_FLIGHT
}

/// Whether a RST's checksum is right, or still left to the device.
#[inline(always)]
fn sums_up<P: Packet>(packet: &P, headers: &Headers) -> bool {
    if headers.key.proto != proto::TCP {
        return true;
    }
    let Ok(length) = headers.wire_len(packet) else { return false };
    let length = length.wrapping_sub(headers.l4() - headers.l3());
    if !(TCP_LEN..=RESET_WORDS * 4).contains(&length) {
        return false;
    }
    let Ok(checksum) = packet.read::<u16>(headers.l4() + crate::headers::TCP_CHECKSUM) else { return false };
    let pseudo = Sum::default().word(u32::from(headers.key.pseudo())).word(Be32::new(length as u32).raw());
    if checksum == !pseudo.checksum() {
        return true;
    }
    let mut sum = pseudo;
    let mut word = 0;
    while word < RESET_WORDS && word * 4 + 4 <= length {
        let Ok(value) = packet.read::<u32>(headers.l4() + word * 4) else { return false };
        sum = sum.word(value);
        word += 1;
    }
    // A text may say why it was sent (RFC 9293, section 3.5.3).
    let mut rest = [0; 4];
    let mut byte = 0;
    while byte < 3 && word * 4 + byte < length {
        let Ok(value) = packet.read::<u8>(headers.l4() + word * 4 + byte) else { return false };
        rest[byte] = value;
        byte += 1;
    }
    sum.word(u32::from_ne_bytes(rest)).checksum() == 0
}
