//! Flows: what happens to the packets of one connection, by direction.
//!
//! A flow is a pair of entries. The entry of key `K` says "rewrite to `T`"; its pair has the key
//! `reverse(T)` and says "rewrite to `reverse(K)`". Either entry can thus recreate the other.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16, Be32, Delta};

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
/// Packets were seen in both directions.
pub const FLOW_ESTABLISHED: u16 = 1 << 1;
/// A FIN or RST was seen; a new SYN starts a new flow.
pub const FLOW_CLOSING: u16 = 1 << 2;
/// Packets leave by the programs' own transmission and not through the node's stack, which would
/// refuse a packet from outside that carries the node's own address as its source.
pub const FLOW_TRANSMIT: u16 = 1 << 3;
/// The next hop's device takes what XDP programs redirect to it.
pub const FLOW_XDP_HOP: u16 = 1 << 4;
/// Packets are encapsulated for the backend, which answers the client itself.
pub const FLOW_DSR: u16 = 1 << 5;
/// Datagrams go to a server that stands in: the flow ends when its time is over.
pub const FLOW_STAND_IN: u16 = 1 << 6;

/// Bits that both entries of a pair share.
pub const FLOW_SHARED: u16 = FLOW_ESTABLISHED | FLOW_CLOSING;

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

/// What to do with the packets of one direction. 72 bytes.
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
    /// The next hop of a flow that is transmitted, looked up at the first packet and once a second.
    pub hop: Hop,
}

const _: () = assert!(size_of::<FlowValue>() == 72);

impl FlowKey {
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
/// widths: a flow of a packet over IPv4 takes 64 bytes instead of 112.
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

/// [`FlowValue`] of an IPv4 packet, as the map holds it. 48 bytes.
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
}

const _: () = assert!(size_of::<FlowKeyV4>() == 16 && size_of::<FlowValueV4>() == 48);

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
        let FlowValue { to, backend, state, mtu, last_seen, hop } = *value;
        let Rewrite { src, dst, sport, dport, l4_delta, l3_delta } = to;
        let (src, dst) = (src.last_word(), dst.last_word());
        Self { src, dst, sport, dport, l4_delta, l3_delta, backend, state, mtu, last_seen, hop }
    }

    /// The wide form.
    #[inline(always)]
    pub fn widen(&self) -> FlowValue {
        let Self { src, dst, sport, dport, l4_delta, l3_delta, backend, state, mtu, last_seen, hop } = *self;
        let to = Rewrite { src: Addr::v4(src), dst: Addr::v4(dst), sport, dport, l4_delta, l3_delta };
        FlowValue { to, backend, state, mtu, last_seen, hop }
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
}
