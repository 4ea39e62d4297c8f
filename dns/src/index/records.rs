//! Address records, finished but for their owner.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::wire::{QUESTION_NAME, kind};

/// Owner, type, class, time to live and length.
const RECORD_HEADER: usize = 12;

/// The addresses of a name, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// A records.
    pub v4: Records,
    /// AAAA records.
    pub v6: Records,
}

/// Records of one type and length, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// One IPv4 address, as most Services have, fits in place.
    octets: SmallVec<[u8; 16]>,
    each: u8,
}

impl Addresses {
    /// The records of addresses, each once, in the order given.
    pub fn of(addresses: impl Iterator<Item = IpAddr>, ttl_s: u32) -> Self {
        let mut kept: Vec<IpAddr> = addresses.collect();
        // Sorted, since endpoints come by the thousands; order among addresses means nothing.
        if kept.len() > 1 {
            kept.sort_unstable();
            kept.dedup();
        }
        let split = kept.partition_point(IpAddr::is_ipv4);
        Self { v4: Records::of(&kept[..split], ttl_s), v6: Records::of(&kept[split..], ttl_s) }
    }

    /// The records that answer a type.
    pub fn of_kind(&self, wanted: u16) -> Option<&Records> {
        match wanted {
            kind::A => Some(&self.v4),
            kind::AAAA => Some(&self.v6),
            _ => None,
        }
    }

    /// Whether there is none of either family.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl Records {
    fn of(addresses: &[IpAddr], ttl_s: u32) -> Self {
        let each = addresses.first().map_or(0, |first| RECORD_HEADER + if first.is_ipv4() { 4 } else { 16 });
        let mut octets = SmallVec::with_capacity(each * addresses.len());
        addresses.iter().for_each(|address| push_address(&mut octets, QUESTION_NAME, *address, ttl_s));
        Self { octets, each: u8::try_from(each).unwrap_or_default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.octets.len().checked_div(usize::from(self.each)).unwrap_or_default()
    }

    /// The records, beginning with the `turn`-th and going round.
    pub fn from(&self, turn: usize) -> impl Iterator<Item = &[u8]> {
        let start = turn.checked_rem(self.len()).unwrap_or_default() * usize::from(self.each);
        let (before, after) = self.octets.split_at(start);
        let each = usize::from(self.each.max(1));
        after.chunks_exact(each).chain(before.chunks_exact(each))
    }

    /// The address of a record.
    pub fn address(record: &[u8]) -> Option<IpAddr> {
        let octets = &record[RECORD_HEADER..];
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
    }
}

/// Appends the record of an address; the owner is a compression pointer.
fn push_address(out: &mut SmallVec<[u8; 16]>, owner: u16, address: IpAddr, ttl_s: u32) {
    out.extend_from_slice(&owner.to_be_bytes());
    let kind = if address.is_ipv4() { kind::A } else { kind::AAAA };
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&kind::IN.to_be_bytes());
    out.extend_from_slice(&ttl_s.to_be_bytes());
    match address {
        IpAddr::V4(address) => {
            out.extend_from_slice(&[0, 4]);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.extend_from_slice(&[0, 16]);
            out.extend_from_slice(&address.octets());
        }
    }
}
