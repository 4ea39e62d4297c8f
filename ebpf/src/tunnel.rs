//! Direct server return: packets go to their endpoint as they came, inside of another network header,
//! and the endpoint answers the client from the service's address.

use seaway_common::{Be16, Be32, Reason, Sum};

use crate::headers::{ETHERNET_LEN, ETHERTYPE, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Headers, IPV4_LEN, IPV6_LEN};
use crate::{FlowEntry, Room, Tables};

/// Protocol numbers of IPv4 in IPv4 (RFC 2003) and IPv6 in IPv6 (RFC 2473).
const IPIP: u8 = 4;
const IPV6_IN: u8 = 41;
const HOPS: u8 = 64;

/// What the outer header adds to a packet.
#[inline(always)]
pub(crate) const fn overhead(v4: bool) -> usize {
    if v4 { IPV4_LEN } else { IPV6_LEN }
}

/// Puts the packet into one from this node to the flow's endpoint, with one hop less to live: this node
/// forwarded it (RFC 2003, section 3.1; RFC 2473, section 3.1).
///
/// # Errors
/// [`Reason::Unfollowed`] for tags inside of the packet, [`Reason::NoRoute`] where the node has no
/// address, [`Reason::Truncated`] where there is no room; the packet must be dropped then.
#[inline(never)]
pub(crate) fn encapsulate<P: Room, E: FlowEntry, T: Tables>(
    packet: &mut P,
    headers: &Headers,
    flow: &E,
    tables: &T,
) -> Result<(), Reason> {
    let endpoint = &flow.get().to.dst;
    if headers.l3() != ETHERNET_LEN {
        return Err(Reason::Unfollowed);
    }
    let config = tables.config().ok_or(Reason::Inconsistent)?;
    let own = *config.snat_for(endpoint).ok_or(Reason::NoRoute)?;
    headers.age(packet)?;
    let inner: Be16 = packet.read(ETHERNET_LEN + if headers.v4 { 2 } else { 4 })?;
    packet.wrap(headers.v4)?;
    if headers.v4 {
        let total = u32::from(inner.get()) + IPV4_LEN as u32;
        let first = Be32::new(0x4500_0000 | total);
        let life = Be32::new(u32::from(HOPS) << 24 | u32::from(IPIP) << 16);
        // Nobody fragments it (RFC 6864: no identification is needed then).
        let (src, dst) = (own.last_word().raw(), endpoint.last_word().raw());
        let words = [first.raw(), Be32::new(0x4000).raw(), life.raw(), src, dst];
        let mut sum = Sum::default();
        let mut index = 0;
        while index < words.len() {
            sum = sum.word(words[index]);
            index += 1;
        }
        packet.write(ETHERNET_LEN, words)?;
        packet.write(ETHERNET_LEN + 10, sum.checksum())?;
        return packet.write(ETHERTYPE, ETHERTYPE_IPV4);
    }
    let len = u32::from(inner.get()) + IPV6_LEN as u32;
    let head = [Be32::new(0x6000_0000), Be32::new(len << 16 | u32::from(IPV6_IN) << 8 | u32::from(HOPS))];
    packet.write(ETHERNET_LEN, head)?;
    packet.write(ETHERNET_LEN + 8, own)?;
    packet.write(ETHERNET_LEN + 24, *endpoint)?;
    packet.write(ETHERTYPE, ETHERTYPE_IPV6)
}
