//! Addresses to the Services that have them, in order, so that parts of an address can be asked for.

use std::net::IpAddr;

/// All addresses of all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverse {
    v4: Table<4>,
    v6: Table<16>,
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The Service's slot in the index.
    pub slot: u32,
    /// Place of the endpoint plus one; 0 is the Service's own address.
    member: u32,
}

/// Addresses with who has them, in any order.
#[derive(Debug, Default)]
pub struct Added {
    v4: Vec<([u8; 4], Owner)>,
    v6: Vec<([u8; 16], Owner)>,
}

/// Addresses of one family: 12 octets each for IPv4, as there are ten of them for each Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table<const N: usize> {
    rows: Vec<([u8; N], Owner)>,
}

impl Owner {
    /// The Service itself has the address.
    pub fn service(slot: u32) -> Self {
        Self { slot, member: 0 }
    }

    /// An endpoint of the Service has the address; `None` beyond four billion endpoints.
    pub fn endpoint(slot: u32, place: usize) -> Option<Self> {
        Some(Self { slot, member: u32::try_from(place + 1).ok()? })
    }

    /// The place of the endpoint among the Service's.
    pub fn member(&self) -> Option<usize> {
        (self.member as usize).checked_sub(1)
    }
}

impl Reverse {
    /// This with all owners of the slots that `gone` tells left out and `added` put in.
    pub fn replace(&self, gone: impl Fn(u32) -> bool, added: Added) -> Self {
        Self { v4: self.v4.replace(&gone, added.v4), v6: self.v6.replace(&gone, added.v6) }
    }

    /// Those of one address. A Service's own comes before its endpoints'.
    pub fn owners(&self, address: IpAddr) -> impl Iterator<Item = Owner> {
        self.range(address, address)
    }

    /// Those of the addresses from `low` to `high`, which are of one family, both included.
    pub fn range(&self, low: IpAddr, high: IpAddr) -> impl Iterator<Item = Owner> {
        let (v4, v6) = match (low, high) {
            (IpAddr::V4(low), IpAddr::V4(high)) => (self.v4.range(low.octets(), high.octets()), &[][..]),
            (IpAddr::V6(low), IpAddr::V6(high)) => (&[][..], self.v6.range(low.octets(), high.octets())),
            _ => (&[][..], &[][..]),
        };
        v4.iter().map(|(_, owner)| *owner).chain(v6.iter().map(|(_, owner)| *owner))
    }
}

impl Extend<(IpAddr, Owner)> for Added {
    fn extend<I: IntoIterator<Item = (IpAddr, Owner)>>(&mut self, rows: I) {
        for (address, owner) in rows {
            match address {
                IpAddr::V4(address) => self.v4.push((address.octets(), owner)),
                IpAddr::V6(address) => self.v6.push((address.octets(), owner)),
            }
        }
    }
}

impl<const N: usize> Table<N> {
    fn replace(&self, gone: impl Fn(u32) -> bool, mut added: Vec<([u8; N], Owner)>) -> Self {
        added.sort_unstable();
        if self.rows.is_empty() {
            added.shrink_to_fit();
            return Self { rows: added };
        }
        let mut rows = Vec::with_capacity(self.rows.len() + added.len());
        let mut added = added.into_iter().peekable();
        for row in self.rows.iter().filter(|(_, owner)| !gone(owner.slot)) {
            while let Some(earlier) = added.next_if(|next| next < row) {
                rows.push(earlier);
            }
            rows.push(*row);
        }
        rows.extend(added);
        rows.shrink_to_fit();
        Self { rows }
    }

    fn range(&self, low: [u8; N], high: [u8; N]) -> &[([u8; N], Owner)] {
        let start = self.rows.partition_point(|(address, _)| *address < low);
        let length = self.rows[start..].partition_point(|(address, _)| *address <= high);
        &self.rows[start..start + length]
    }
}
