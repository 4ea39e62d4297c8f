//! Answers that a program gives in the place of somebody else: a reset, "port unreachable",
//! "fragmentation needed", an echo reply.
//!
//! The packet is made into its own answer and goes back by the interface that it came from.

use seaway_common::{Addr, Be16, Be32, FlowKey, Reason, Sum, proto};

use crate::headers::{
    ACK, ETHERNET_LEN, Headers, ICMP_LEN, IPV4_LEN, IPV6_LEN, Part, RST, TCP_LEN, network, parse_v4, parse_v6,
};
use crate::{Packet, Room};

/// Of the packet that an error is about, so much is sent back at most: all headers that a sender
/// needs to find its socket (RFC 1812 section 4.3.2.3 asks for more only where it costs nothing).
const QUOTED_V4: usize = 64;
const QUOTED_V6: usize = 96;
/// Covers both, in whole words.
const QUOTED_MASK: usize = 0x7c;
const _: () = assert!(QUOTED_V4 <= QUOTED_MASK && QUOTED_V6 <= QUOTED_MASK);
const HOPS: u8 = 64;

/// What is said to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody listens: a reset for TCP, "port unreachable" for the rest.
    Refused,
    /// The packet is longer than the way out takes.
    TooBig,
    /// The address is there.
    Echo,
}

/// Makes the packet into its answer; `mtu` is what the way out takes, where that is the answer.
///
/// # Errors
/// The reason why there is none; the packet may be half changed then and must be dropped.
#[inline(never)]
pub fn answer<P: Room>(packet: &mut P, answer: Answer, mtu: u16) -> Result<(), Reason> {
    let Some((v4, l3)) = network(packet, true)? else { return Err(Reason::BadHeader) };
    let headers = if v4 { parse_v4(packet, l3, true)? } else { parse_v6(packet, l3, true)? };
    let Some(headers) = headers else { return Err(Reason::BadHeader) };
    if headers.part == Part::Later {
        return Err(Reason::Fragment); // RFC 1122, section 3.2.2: only about first fragments.
    }
    match answer {
        Answer::Echo => echo(packet, &headers)?,
        Answer::Refused if headers.key.proto == proto::TCP => reset(packet, &headers)?,
        Answer::Refused => {
            // Destination unreachable, port unreachable (RFC 792; RFC 4443, section 3.1).
            let [kind, code] = if v4 { [3, 3] } else { [1, 4] };
            error(packet, &headers, [kind, code], 0)?;
        }
        Answer::TooBig => {
            // Fragmentation needed (RFC 1191); packet too big (RFC 4443, section 3.2).
            let [kind, code] = if v4 { [3, 4] } else { [2, 0] };
            error(packet, &headers, [kind, code], u32::from(mtu))?;
        }
    }
    turn_link(packet)
}

/// Swaps the link addresses.
#[inline(always)]
fn turn_link<P: Packet>(packet: &mut P) -> Result<(), Reason> {
    let [a, b, c, d, e, f]: [Be16; 6] = packet.read(0)?;
    packet.write(0, [d, e, f, a, b, c])
}

/// An echo reply: addresses swapped, another type, the rest as it was sent (RFC 792, RFC 4443).
#[inline(always)]
fn echo<P: Packet>(packet: &mut P, headers: &Headers) -> Result<(), Reason> {
    let FlowKey { src, dst, .. } = headers.key;
    // The sums do not change when addresses are swapped.
    if headers.v4 {
        packet.write(headers.l3() + 12, [dst.last_word(), src.last_word()])?;
    } else {
        packet.write(headers.l3() + 8, [dst, src])?;
    }
    let [old, checksum]: [u16; 2] = packet.read(headers.l4())?;
    let new = u16::from_ne_bytes([if headers.v4 { 0 } else { 129 }, old.to_ne_bytes()[1]]);
    let checksum = seaway_common::Delta::between(old.into(), new.into()).update(checksum);
    packet.write(headers.l4(), [new, checksum])
}

/// A reset (RFC 9293, section 3.10.7.1).
#[inline(always)]
fn reset<P: Room>(packet: &mut P, headers: &Headers) -> Result<(), Reason> {
    let [sport, dport]: [Be16; 2] = packet.read(headers.l4())?;
    let seq: Be32 = packet.read(headers.l4() + 4)?;
    let (v4, l3) = (headers.v4, headers.l3());
    let l4 = l3 + if v4 { IPV4_LEN } else { IPV6_LEN };
    packet.set_len(l4 + TCP_LEN)?;
    write_network(packet, l3, v4, TCP_LEN, proto::TCP, &headers.key)?;
    let tcp: [Be16; 10] = {
        let ack = seq.get().wrapping_add(1);
        let high = |word: u32| Be16::new((word >> 16) as u16);
        let low = |word: u32| Be16::new(word as u16);
        let flags = Be16::new(0x5000 | u16::from(RST | ACK));
        let zero = Be16::default();
        [dport, sport, zero, zero, high(ack), low(ack), flags, zero, zero, zero]
    };
    let sum = pseudo(&headers.key, TCP_LEN, proto::TCP).bytes(bytemuck::bytes_of(&tcp));
    packet.write(l4, tcp)?;
    packet.write(l4 + 16, sum.checksum())
}

/// An error about the packet, from the address that it was sent to.
#[inline(always)]
fn error<P: Room>(packet: &mut P, headers: &Headers, code: [u8; 2], detail: u32) -> Result<(), Reason> {
    let (v4, l3) = (headers.v4, headers.l3());
    if l3 != ETHERNET_LEN {
        return Err(Reason::Unfollowed);
    }
    let most = if v4 { QUOTED_V4 } else { QUOTED_V6 };
    let whole = packet.whole_len() - l3;
    // Whole words, so that the sum goes by words.
    let quoted = if whole < most { whole } else { most } & !3;
    packet.set_len(l3 + quoted)?;
    let network_len = if v4 { IPV4_LEN } else { IPV6_LEN };
    packet.make_room(network_len + ICMP_LEN)?;
    let proto = if v4 { proto::ICMP } else { proto::ICMPV6 };
    write_network(packet, l3, v4, ICMP_LEN + quoted, proto, &headers.key)?;
    let l4 = l3 + network_len;
    let header = [
        Be16::new(u16::from_be_bytes(code)),
        Be16::default(),
        Be16::new((detail >> 16) as u16),
        Be16::new(detail as u16),
    ];
    let mut sum = if v4 { Sum::default() } else { pseudo(&headers.key, ICMP_LEN + quoted, proto) };
    sum = sum.bytes(bytemuck::bytes_of(&header));
    // The compiler knows that `quoted` is small, and the verifier of Linux 6.1 has forgotten it by now: a
    // mask that the compiler cannot take out tells it again.
    let end = opaque(quoted) & QUOTED_MASK;
    let mut at = 0;
    while at < end {
        let word: u32 = packet.read(l4 + ICMP_LEN + at)?;
        sum = sum.word(word);
        at += 4;
    }
    packet.write(l4, header)?;
    packet.write(l4 + 2, sum.checksum())
}

/// A network header for `len` bytes back to the sender.
#[inline(always)]
fn write_network<P: Packet>(
    packet: &mut P,
    l3: usize,
    v4: bool,
    len: usize,
    proto: u8,
    key: &FlowKey,
) -> Result<(), Reason> {
    if v4 {
        let (src, dst) = (key.dst.last_word().raw(), key.src.last_word().raw());
        let total = Be16::new((IPV4_LEN + len) as u16);
        let first = Be32::new(0x4500_0000 | u32::from(total.get()));
        let life = Be32::new(u32::from(HOPS) << 24 | u32::from(proto) << 16);
        // Nobody fragments it (RFC 6864: no identification is needed then).
        let words = [first.raw(), Be32::new(0x4000).raw(), life.raw(), src, dst];
        let mut sum = Sum::default();
        let mut index = 0;
        while index < words.len() {
            sum = sum.word(words[index]);
            index += 1;
        }
        packet.write(l3, words)?;
        return packet.write(l3 + 10, sum.checksum());
    }
    let head =
        [Be32::new(0x6000_0000), Be32::new((len as u32) << 16 | u32::from(proto) << 8 | u32::from(HOPS))];
    packet.write(l3, head)?;
    packet.write(l3 + 8, [key.dst, key.src])
}

/// The sum over the pseudo-header of an answer to `key` (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[inline(always)]
fn pseudo(key: &FlowKey, len: usize, proto: u8) -> Sum {
    let rest = Sum::default().word(Be32::new(len as u32).raw()).word(Be32::new(u32::from(proto)).raw());
    let add = |sum: Sum, addr: &Addr| {
        let [a, b, c, d] = addr.words();
        if addr.is_v4() {
            sum.word(d.raw())
        } else {
            sum.word(a.raw()).word(b.raw()).word(c.raw()).word(d.raw())
        }
    };
    add(add(rest, &key.src), &key.dst)
}

/// The value, of which the compiler knows nothing any more.
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    let value = {
        let mut known = value;
        // SAFETY: a register is copied into itself.
        unsafe {
            core::arch::asm!("{value} = {value}", value = inout(reg) known, options(pure, nomem, nostack))
        };
        known
    };
    value
}
