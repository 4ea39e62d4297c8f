//! Who may have whole zones: the `transfer` plugin.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::Zone;

/// One `transfer` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The zones that it is about.
    pub zones: Vec<Zone>,
    /// Who may have them; empty means everybody.
    pub to: Vec<IpNet>,
}

impl Transfer {
    /// Whether a zone may go to an address.
    pub fn allows(&self, zone: &Zone, to: IpAddr) -> bool {
        let to = to.to_canonical();
        let below = |of: &Zone| zone.wire().ends_with(of.wire());
        self.zones.iter().any(below)
            && (self.to.is_empty() || self.to.iter().any(|range| range.contains(&to)))
    }
}
