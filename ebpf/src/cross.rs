//! Services of one family whose endpoints are of the other (RFC 7915, section 4 and 5, in both
//! directions): the transport header stays, the network header is made anew.
//!
//! Flows that cross are kept with those over IPv6, whose keys hold addresses of both families. XDP leaves
//! their packets to the program after it.

use seaway_common::{Be16, Be32, CONFIG_CROSS, FlowKey, Reason, SERVICE_CROSS, ServiceKey, Sum, proto};

use crate::headers::{
    ETHERNET_LEN, ETHERTYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Headers, IPV4_LEN, IPV6_LEN, Ipv4, Ipv6, Part,
    UDP_CHECKSUM,
};
use crate::{FlowEntry, Flows, Room, Tables};

/// The IPv6 header is longer by so much.
pub(crate) const LONGER: usize = IPV6_LEN - IPV4_LEN;

/// Whether a packet over IPv4 belongs to a flow that crosses, or starts one.
#[inline(never)]
pub(crate) fn crosses<T: Tables, F: Flows>(headers: &Headers, tables: &T, flows: &F) -> bool {
    if headers.part != Part::Whole || tables.config().is_none_or(|config| config.flags & CONFIG_CROSS == 0) {
        return false;
    }
    if flows.flow(&headers.key).is_some() {
        return true;
    }
    let FlowKey { dst, dport, proto, .. } = headers.key;
    let key = ServiceKey { addr: dst, port: dport, proto, scope: 0, _pad: 0 };
    tables.service(&key).is_some_and(|service| service.has(SERVICE_CROSS))
}

/// Gives the packet the other family's network header, with one hop less to live.
///
/// # Errors
/// [`Reason::Unfollowed`] for what does not fit the other family: tags inside of the packet, options,
/// extension headers, and over IPv4 UDP without a checksum, which IPv6 must have (RFC 8200, section 8.1).
/// [`Reason::Truncated`] where the kernel has no room; the packet must be dropped then.
#[inline(never)]
pub(crate) fn convert<P: Room, E: FlowEntry>(
    packet: &mut P,
    headers: &Headers,
    flow: &E,
) -> Result<(), Reason> {
    let (l3, v4) = (headers.l3(), headers.v4);
    if l3 != ETHERNET_LEN || headers.l4() != l3 + if v4 { IPV4_LEN } else { IPV6_LEN } {
        return Err(Reason::Unfollowed);
    }
    if v4 && headers.key.proto == proto::UDP && packet.read::<u16>(headers.l4() + UDP_CHECKSUM)? == 0 {
        return Err(Reason::Unfollowed);
    }
    let to = flow.get().to;
    headers.rewrite_transport(packet, &to)?;
    if v4 {
        let old: Ipv4 = packet.read(l3)?;
        packet.change_family(false)?;
        let len = u32::from(old.total_len.get()) - IPV4_LEN as u32;
        let first = Be32::new(0x6000_0000 | u32::from(old.tos) << 20);
        let second = Be32::new(len << 16 | u32::from(old.proto) << 8 | u32::from(old.ttl.wrapping_sub(1)));
        packet.write(l3, [first, second])?;
        packet.write(l3 + 8, to.src)?;
        packet.write(l3 + 24, to.dst)?;
        return packet.write(ETHERTYPE, ETHERTYPE_IPV6);
    }
    let old: Ipv6 = packet.read(l3)?;
    packet.change_family(true)?;
    let class = old.version_class_label.get() >> 20 & 0xff;
    let total = u32::from(old.payload_len.get()) + IPV4_LEN as u32;
    let first = Be32::new(0x4500_0000 | class << 16 | total);
    let life = Be32::new(u32::from(old.hop_limit.wrapping_sub(1)) << 24 | u32::from(old.next_header) << 16);
    // As IPv6 does, nobody on the way fragments it (RFC 7915, section 5.1).
    let flags = Be32::new(0x4000);
    let words = [first.raw(), flags.raw(), life.raw(), to.src.last_word().raw(), to.dst.last_word().raw()];
    let mut sum = Sum::default();
    let mut index = 0;
    while index < words.len() {
        sum = sum.word(words[index]);
        index += 1;
    }
    packet.write(l3, words)?;
    packet.write(l3 + 10, sum.checksum())?;
    let ethertype: Be16 = ETHERTYPE_IPV4;
    packet.write(ETHERTYPE, ethertype)
}
