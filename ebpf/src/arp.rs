//! ARP for cluster IPs that the node looks for on a link: a route sends its own packets there, nobody on
//! the link has the address, and the packets would never come to where they are translated.

use seaway_common::{ADDRESS_CLUSTER_IP, Addr, Be16, Be32, Reason};

use crate::headers::{ETHERNET_LEN, ETHERTYPE};
use crate::{Packet, Tables};

const ETHERTYPE_ARP: Be16 = Be16::new(0x0806);
/// Ethernet, IPv4, and their lengths (RFC 826).
const KINDS: [Be16; 3] = [Be16::new(1), Be16::new(0x0800), Be16::new(0x0604)];
const REQUEST: Be16 = Be16::new(1);
const REPLY: Be16 = Be16::new(2);
/// Offsets behind the link header.
const OPERATION: usize = 6;
const SENDER: usize = 8;
const TARGET: usize = 18;

/// Makes a request of this node for a virtual address into its answer: the address is where the asking
/// interface is. Says whether it was one.
///
/// # Errors
/// [`Reason::Truncated`]
#[inline(never)]
pub fn vouch<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<bool, Reason> {
    if packet.read::<Be16>(ETHERTYPE)? != ETHERTYPE_ARP {
        return Ok(false);
    }
    let kinds: [Be16; 3] = packet.read(ETHERNET_LEN)?;
    let operation: Be16 = packet.read(ETHERNET_LEN + OPERATION)?;
    if kinds != KINDS || operation != REQUEST {
        return Ok(false);
    }
    let [high, low]: [Be16; 2] = packet.read(ETHERNET_LEN + TARGET + 6)?;
    let target = Be32::new(u32::from(high.get()) << 16 | u32::from(low.get()));
    // Somebody may have a load balancer's or an external address, but nobody a cluster IP.
    if tables.address(&Addr::v4(target)) & ADDRESS_CLUSTER_IP == 0 {
        return Ok(false);
    }
    let [a, b, c]: [Be16; 3] = packet.read(6)?;
    let asking: [Be16; 5] = packet.read(ETHERNET_LEN + SENDER)?;
    packet.write(0, [a, b, c, a, b, c])?;
    packet.write(ETHERNET_LEN + OPERATION, REPLY)?;
    packet.write(ETHERNET_LEN + SENDER, [a, b, c, high, low])?;
    packet.write(ETHERNET_LEN + TARGET, asking)?;
    Ok(true)
}
