//! Hashes by which flows are spread; every node computes the same ones.

use crate::{Addr, FlowKey};

/// Odd constants of the SplitMix64 generator (Steele, Lea and Flood, 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Of the client's address alone: all its connections have the same.
#[inline(always)]
pub fn hash_client(client: &Addr) -> u32 {
    finish(fold_addr(STEP, client))
}

/// Of a packet's addresses, ports and protocol.
#[inline(always)]
pub fn hash_flow(key: &FlowKey) -> u32 {
    let ports = u64::from(key.sport.get()) << 24 | u64::from(key.dport.get()) << 8 | u64::from(key.proto);
    finish(mix(fold_addr(fold_addr(STEP, &key.src), &key.dst) ^ ports))
}

#[inline(always)]
fn fold_addr(hash: u64, addr: &Addr) -> u64 {
    let [a, b, c, d] = addr.words();
    let high = u64::from(a.get()) << 32 | u64::from(b.get());
    let low = u64::from(c.get()) << 32 | u64::from(d.get());
    mix(mix(hash ^ high) ^ low)
}

#[inline(always)]
const fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 30).wrapping_mul(MIX[0]);
    (hash ^ hash >> 27).wrapping_mul(STEP)
}

#[inline(always)]
const fn finish(hash: u64) -> u32 {
    let hash = (hash ^ hash >> 27).wrapping_mul(MIX[1]);
    ((hash ^ hash >> 31) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Be16, Be32, proto};

    #[test]
    fn neighbouring_ports_and_clients_spread_evenly() {
        let mut by_port = [0u32; 10];
        let mut by_client = [0u32; 10];
        for number in 0..10_000u32 {
            let src = Addr::v4(Be32::new(0xc000_0200 + number));
            let key = FlowKey { sport: Be16::new(number as u16), proto: proto::TCP, ..FlowKey::default() };
            by_port[((u64::from(hash_flow(&key)) * 10) >> 32) as usize] += 1;
            by_client[((u64::from(hash_client(&src)) * 10) >> 32) as usize] += 1;
        }
        for counts in [by_port, by_client] {
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }
}
