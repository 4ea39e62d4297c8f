//! Reverse path filtering, as the kernel applies it to each device over IPv4.

use std::collections::BTreeMap;
use std::io;

use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::{self, Header, NLM_F_DUMP};

const RTM_GETNETCONF: u16 = 82;
const AF_INET: u8 = 2;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_RP_FILTER: u16 = 3;
/// `NETCONFA_IFINDEX_ALL`: the settings in `conf/all`.
const ALL: i32 = -1;
const STRICT: i32 = 1;

/// Header and `struct netconfmsg`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    header: Header,
    family: u8,
    _pad: [u8; 3],
}

/// The setting `rp_filter` of each device, by index, and that of `conf/all`.
#[derive(Debug, Default)]
pub(super) struct RpFilters {
    all: i32,
    own: BTreeMap<i32, i32>,
}

impl RpFilters {
    /// # Errors
    /// The kernel's.
    pub(super) fn read() -> io::Result<Self> {
        let request = Request {
            header: Header::of::<Request>(RTM_GETNETCONF, NLM_F_DUMP),
            family: AF_INET,
            ..Request::zeroed()
        };
        let mut filters = Self::default();
        netlink::ask(NETLINK_ROUTE, &request, |message| filters.take(message))?;
        Ok(filters)
    }

    fn take(&mut self, message: &[u8]) {
        let attributes = message.get(size_of::<Request>() - size_of::<Header>()..).unwrap_or_default();
        let number = |wanted: u16| {
            let value = netlink::attributes(attributes).find(|(kind, _)| *kind == wanted)?.1;
            value.try_into().ok().map(i32::from_ne_bytes)
        };
        match (number(NETCONFA_IFINDEX), number(NETCONFA_RP_FILTER)) {
            (Some(ALL), Some(value)) => self.all = value,
            (Some(index), Some(value)) => _ = self.own.insert(index, value),
            _ => {}
        }
    }

    /// Whether packets of a device must have a source that is routed back by it: the larger of both settings
    /// counts, and loose filtering (2) is not strict.
    pub(super) fn strict(&self, index: u32) -> bool {
        let own = i32::try_from(index).ok().and_then(|index| self.own.get(&index));
        self.all.max(own.copied().unwrap_or(0)) == STRICT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(all: i32, own: i32, strict: bool) {
        assert_eq!(RpFilters { all, own: [(7, own)].into() }.strict(7), strict, "all {all}, own {own}");
    }

    #[test]
    fn the_larger_of_both_settings_counts_and_loose_is_not_strict() {
        check(0, 0, false);
        check(0, 1, true);
        check(1, 0, true);
        check(1, 1, true);
        check(1, 2, false);
        check(2, 1, false);
    }

    #[test]
    fn the_kernel_says_what_loopback_has() {
        assert!(RpFilters::read().unwrap().own.contains_key(&1));
    }
}
