//! Flows: what happens to the packets of one connection, by direction.
//!
//! A flow is a pair of entries. The entry of key `K` says "rewrite to `T`"; its pair has the key
//! `reverse(T)` and says "rewrite to `reverse(K)`". Either entry can thus recreate the other.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16, Be32, Config, Delta, Sum};

/// A packet's addresses, ports and protocol, as they stand in the packet. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct FlowKey {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port.
    pub sport: Be16,
    /// Destination port.
    pub dport: Be16,
    /// Transport protocol number.
    pub proto: u8,
    /// Explicit padding, zero.
    pub _pad: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 40);

/// The addresses and ports that a packet gets. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Rewrite {
    /// New source address.
    pub src: Addr,
    /// New destination address.
    pub dst: Addr,
    /// New source port.
    pub sport: Be16,
    /// New destination port.
    pub dport: Be16,
    /// Added to the transport checksum.
    pub l4_delta: Delta,
    /// Added to the IPv4 header checksum.
    pub l3_delta: Delta,
}

const _: () = assert!(size_of::<Rewrite>() == 40);

/// The entry translates from the client towards the backend; its pair translates replies.
pub const FLOW_FORWARD: u16 = 1 << 0;
/// A reply was seen: of TCP, the SYN-ACK.
pub const FLOW_REPLIED: u16 = 1 << 1;
/// TCP: a RST was seen that its receiver accepts (RFC 5961, section 3.2).
pub const FLOW_RESET: u16 = 1 << 2;
/// Packets leave by the programs' own transmission and not through the node's stack.
pub const FLOW_TRANSMIT: u16 = 1 << 3;
/// The next hop's device takes what XDP programs redirect to it.
pub const FLOW_XDP_HOP: u16 = 1 << 4;
/// Packets are encapsulated for the backend, which answers the client itself.
pub const FLOW_DSR: u16 = 1 << 5;
/// Datagrams go to a server that stands in: the flow ends when its time is over.
pub const FLOW_STAND_IN: u16 = 1 << 6;
/// The entry applies where packets leave an interface, not where they arrive: replies of a flow through
/// the stack, which routes them as the endpoint sent them; and requests that nobody translated before.
pub const FLOW_AT_EGRESS: u16 = 1 << 7;
/// The flow is one of the kernel's connection tracking: its packets are passed on as they are.
pub const FLOW_KERNEL: u16 = 1 << 8;
/// Both sides are known to take part: of TCP, the handshake's last ACK was seen; of the rest, a reply.
pub const FLOW_ESTABLISHED: u16 = 1 << 9;
/// TCP: the client's FIN was seen.
pub const FLOW_FIN_FORWARD: u16 = 1 << 10;
/// TCP: the backend's FIN was seen.
pub const FLOW_FIN_REPLY: u16 = 1 << 11;
/// The stack gets the packet as if it had arrived by the interface of the next hop, which is the one
/// that it sent the request by.
pub const FLOW_TO_INGRESS: u16 = 1 << 12;

/// Bits that both entries of a pair share.
pub const FLOW_SHARED: u16 = FLOW_REPLIED | FLOW_RESET | FLOW_ESTABLISHED | FLOW_FIN_FORWARD | FLOW_FIN_REPLY;

/// Both FINs.
const FINS: u16 = FLOW_FIN_FORWARD | FLOW_FIN_REPLY;

/// Whether a TCP flow has ended: both sides closed it, or one reset it.
#[inline(always)]
pub const fn flow_ended(state: u16) -> bool {
    state & FLOW_RESET != 0 || state & FINS == FINS
}

/// Idle seconds after which a flow of this protocol and state is forgotten, by the states and names of the
/// kernel's connection tracking (`nf_conntrack_tcp_timeout_*`, `nf_conntrack_udp_timeout*`).
#[inline(always)]
pub const fn flow_timeout_s(config: &Config, proto: u8, state: u16) -> u32 {
    if state & FLOW_KERNEL != 0 {
        return KERNEL_FLOW_S;
    }
    if proto != crate::proto::TCP {
        return if state & FLOW_ESTABLISHED != 0 { config.udp_assured_s } else { config.udp_s };
    }
    if state & FLOW_RESET != 0 {
        config.tcp_closing_s
    } else if state & FINS == FINS {
        config.tcp_time_wait_s
    } else if state & FINS != 0 {
        config.tcp_close_wait_s
    } else if state & FLOW_ESTABLISHED != 0 {
        config.tcp_established_s
    } else {
        config.tcp_opening_s
    }
}

/// Seconds for which the kernel owns a flow that it was last seen to send a packet of.
pub const KERNEL_FLOW_S: u32 = 120;

/// Where transmitted packets go next. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Hop {
    /// Index of the interface; 0 when the next hop is not known.
    pub ifindex: u32,
    /// Destination and source of the link header, as they stand in it.
    pub addresses: [Be32; 3],
}

const _: () = assert!(size_of::<Hop>() == 16);

/// What to do with the packets of one direction. 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowValue {
    /// What the packet becomes.
    pub to: Rewrite,
    /// Backend id.
    pub backend: u32,
    /// `FLOW_*` bits.
    pub state: u16,
    /// Longest packet that fits the way out, network header included; 0 when it is not known.
    pub mtu: u16,
    /// Time of a recent packet, in kernel ticks (`bpf_jiffies64`).
    pub last_seen: u64,
    /// The next hop of a flow that is transmitted.
    pub hop: Hop,
    /// TCP: the acknowledgment number of the latest packet of this direction, which is what its sender
    /// expects next of the other.
    pub ack: Be32,
    /// The value of `ROUTE_GENERATION` when the next hop was looked up, its low half.
    pub generation: u16,
    /// Sum over the addresses and the protocol of packets as they arrive: what a transport checksum is
    /// made of as long as its sender leaves the rest to the device (`CHECKSUM_PARTIAL`).
    pub pseudo: u16,
}

const _: () = assert!(size_of::<FlowValue>() == 80);

impl FlowKey {
    /// The tuple of packets in the other direction.
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        let Self { src, dst, sport, dport, proto, _pad } = *self;
        Self { src: dst, dst: src, sport: dport, dport: sport, proto, _pad }
    }

    /// The sum over addresses and protocol of a pseudo-header, folded.
    #[inline(always)]
    pub fn pseudo(&self) -> u16 {
        let proto = Be32::new(self.proto as u32).raw();
        let (src, dst) = (self.src.words(), self.dst.words());
        let mut sum = Sum::default().word(proto).word(src[3].raw()).word(dst[3].raw());
        if !self.src.is_v4() {
            sum = sum.word(src[0].raw()).word(src[1].raw()).word(src[2].raw());
            sum = sum.word(dst[0].raw()).word(dst[1].raw()).word(dst[2].raw());
        }
        !sum.checksum()
    }

    /// What turns packets of this key into packets with these addresses and ports.
    #[inline(always)]
    pub fn rewrite_to(&self, src: Addr, sport: Be16, dst: Addr, dport: Be16) -> Rewrite {
        let l3_delta = Delta::between_addrs(&self.src, &src).and(Delta::between_addrs(&self.dst, &dst));
        let ports = Delta::between(pair(self.sport, self.dport), pair(sport, dport));
        Rewrite { src, dst, sport, dport, l4_delta: l3_delta.and(ports), l3_delta }
    }
}

impl Rewrite {
    /// Key of the pair entry: the tuple of packets that answer the rewritten one.
    #[inline(always)]
    pub const fn reply_key(&self, proto: u8) -> FlowKey {
        FlowKey { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, proto, _pad: [0; 3] }
    }

    /// The part of the transport checksum's difference that comes from the ports.
    #[inline(always)]
    pub const fn ports_delta(&self) -> Delta {
        self.l4_delta.and(self.l3_delta.negated())
    }

    /// What the pair entry rewrites to: replies get the addresses of `key`, the other way round.
    #[inline(always)]
    pub const fn undo(&self, key: &FlowKey) -> Self {
        Self {
            src: key.dst,
            dst: key.src,
            sport: key.dport,
            dport: key.sport,
            l4_delta: self.l4_delta.negated(),
            l3_delta: self.l3_delta.negated(),
        }
    }
}

/// [`FlowKey`] of an IPv4 packet, as the map holds it. 16 bytes.
///
/// The flow maps are the only ones that every packet looks into, so they alone come in two
/// widths: a flow of a packet over IPv4 takes 72 bytes instead of 120.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowKeyV4 {
    src: Be32,
    dst: Be32,
    sport: Be16,
    dport: Be16,
    proto: u8,
    _pad: [u8; 3],
}

/// [`FlowValue`] of an IPv4 packet, as the map holds it. 56 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FlowValueV4 {
    src: Be32,
    dst: Be32,
    sport: Be16,
    dport: Be16,
    l4_delta: Delta,
    l3_delta: Delta,
    backend: u32,
    /// `FLOW_*` bits.
    pub state: u16,
    /// As of [`FlowValue`].
    pub mtu: u16,
    /// As of [`FlowValue`].
    pub last_seen: u64,
    /// As of [`FlowValue`].
    pub hop: Hop,
    /// As of [`FlowValue`].
    pub ack: Be32,
    /// As of [`FlowValue`].
    pub generation: u16,
    /// As of [`FlowValue`].
    pub pseudo: u16,
}

const _: () = assert!(size_of::<FlowKeyV4>() == 16 && size_of::<FlowValueV4>() == 56);

impl FlowKeyV4 {
    /// From the wide form of an IPv4 key.
    #[inline(always)]
    pub fn narrow(key: &FlowKey) -> Self {
        let FlowKey { src, dst, sport, dport, proto, .. } = *key;
        Self { src: src.last_word(), dst: dst.last_word(), sport, dport, proto, _pad: [0; 3] }
    }

    /// The wide form.
    #[inline(always)]
    pub fn widen(&self) -> FlowKey {
        let Self { src, dst, sport, dport, proto, .. } = *self;
        FlowKey { src: Addr::v4(src), dst: Addr::v4(dst), sport, dport, proto, _pad: [0; 3] }
    }
}

impl FlowValueV4 {
    /// From the wide form of an IPv4 value.
    #[inline(always)]
    pub fn narrow(value: &FlowValue) -> Self {
        let FlowValue { to, backend, state, mtu, last_seen, hop, ack, generation, pseudo } = *value;
        let Rewrite { src, dst, sport, dport, l4_delta, l3_delta } = to;
        let (src, dst) = (src.last_word(), dst.last_word());
        Self {
            src,
            dst,
            sport,
            dport,
            l4_delta,
            l3_delta,
            backend,
            state,
            mtu,
            last_seen,
            hop,
            ack,
            generation,
            pseudo,
        }
    }

    /// The wide form.
    #[inline(always)]
    pub fn widen(&self) -> FlowValue {
        let Self { src, dst, sport, dport, l4_delta, l3_delta, backend, state, mtu, last_seen, .. } = *self;
        let Self { hop, ack, generation, pseudo, .. } = *self;
        let to = Rewrite { src: Addr::v4(src), dst: Addr::v4(dst), sport, dport, l4_delta, l3_delta };
        FlowValue { to, backend, state, mtu, last_seen, hop, ack, generation, pseudo }
    }
}

#[inline(always)]
fn pair(first: Be16, second: Be16) -> u32 {
    u32::from(first.raw()) << 16 | u32::from(second.raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_recreates_itself_and_both_widths_hold_it() {
        let addr = |last: u32| Addr::v4(crate::Be32::new(0x0a00_0000 + last));
        let key = FlowKey {
            src: addr(1),
            dst: addr(2),
            sport: Be16::new(40_000),
            dport: Be16::new(80),
            proto: crate::proto::TCP,
            _pad: [0; 3],
        };
        let to = key.rewrite_to(key.src, key.sport, addr(3), Be16::new(8080));
        let (pair_key, pair_to) = (to.reply_key(key.proto), to.undo(&key));
        assert_eq!((pair_to.reply_key(key.proto), pair_to.undo(&pair_key)), (key, to));
        let value = FlowValue { to, backend: 7, state: FLOW_FORWARD, last_seen: 8, ..FlowValue::default() };
        assert_eq!((FlowKeyV4::narrow(&key).widen(), FlowValueV4::narrow(&value).widen()), (key, value));
    }

    #[track_caller]
    fn check(proto: u8, state: u16, expected: u32) {
        assert_eq!(flow_timeout_s(&Config::new(), proto, state), expected, "{proto} {state:b}");
    }

    #[test]
    fn a_flow_is_forgotten_by_its_state() {
        let (tcp, udp) = (crate::proto::TCP, crate::proto::UDP);
        let established = FLOW_REPLIED | FLOW_ESTABLISHED;
        check(tcp, 0, 60);
        check(tcp, FLOW_REPLIED, 60);
        check(tcp, established, 86_400);
        check(tcp, established | FLOW_FIN_FORWARD, 3600);
        check(tcp, established | FLOW_FIN_REPLY, 3600);
        check(tcp, established | FINS, 120);
        check(tcp, established | FINS | FLOW_RESET, 10);
        check(tcp, FLOW_KERNEL, KERNEL_FLOW_S);
        check(udp, 0, 60);
        check(udp, established, 120);
        check(crate::proto::SCTP, established, 120);
    }
}
