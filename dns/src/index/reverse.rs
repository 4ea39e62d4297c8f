//! Addresses to the Services that have them, in order, so that parts of an address can be asked for.

use std::net::IpAddr;

/// All addresses of all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverse {
    owners: Vec<Owner>,
}

/// An address of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The address.
    pub address: IpAddr,
    /// The Service's slot in the index.
    pub slot: u32,
    /// Place of the endpoint plus one; 0 is the Service's own address.
    member: u32,
}

impl Owner {
    /// The Service itself has the address.
    pub fn service(address: IpAddr, slot: u32) -> Self {
        Self { address, slot, member: 0 }
    }

    /// An endpoint of the Service has the address; `None` beyond four billion endpoints.
    pub fn endpoint(address: IpAddr, slot: u32, place: usize) -> Option<Self> {
        Some(Self { address, slot, member: u32::try_from(place + 1).ok()? })
    }

    /// The place of the endpoint among the Service's.
    pub fn member(&self) -> Option<usize> {
        (self.member as usize).checked_sub(1)
    }
}

impl Reverse {
    /// This with all owners of the slots that `gone` tells left out and `added` put in.
    pub fn replace(&self, gone: impl Fn(u32) -> bool, mut added: Vec<Owner>) -> Self {
        added.sort_unstable();
        let mut owners = Vec::with_capacity(self.owners.len() + added.len());
        let mut added = added.into_iter().peekable();
        for owner in self.owners.iter().filter(|owner| !gone(owner.slot)) {
            while let Some(earlier) = added.next_if(|next| next < owner) {
                owners.push(earlier);
            }
            owners.push(*owner);
        }
        owners.extend(added);
        owners.shrink_to_fit();
        Self { owners }
    }

    /// Those of one address. A Service's own comes before its endpoints'.
    pub fn owners(&self, address: IpAddr) -> &[Owner] {
        self.range(address, address)
    }

    /// Those of the addresses from `low` to `high`, both included.
    pub fn range(&self, low: IpAddr, high: IpAddr) -> &[Owner] {
        let start = self.owners.partition_point(|owner| owner.address < low);
        let length = self.owners[start..].partition_point(|owner| owner.address <= high);
        &self.owners[start..start + length]
    }
}
