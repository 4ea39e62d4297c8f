//! kube-proxy's tables and chains among those of nftables, which iptables may be a front of.

use std::collections::BTreeSet;
use std::io;

use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::OWN_CHAIN;
use crate::netlink::{self, Header, NLM_F_DUMP};

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETCHAIN`.
const GET_CHAINS: u16 = 10 << 8 | 4;
/// `struct nfgenmsg`, in front of the attributes.
const FAMILY_HEADER: usize = 4;
/// `NFTA_CHAIN_TABLE` and `NFTA_CHAIN_NAME`.
const TABLE: u16 = 1;
const NAME: u16 = 3;
/// Bits of an attribute's type that are no flags.
const TYPE_MASK: u16 = 0x3fff;
/// The table of the nftables mode.
const OWN_TABLE: &str = "kube-proxy";

/// With a `struct nfgenmsg`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    header: Header,
    family: u8,
    version: u8,
    resource: u16,
}

const _: () = assert!(size_of::<Request>() == size_of::<Header>() + FAMILY_HEADER);

/// Its tables and chains in the calling thread's network namespace, in words.
///
/// # Errors
/// The kernel's.
pub(super) fn leftovers() -> io::Result<BTreeSet<String>> {
    let request = Request { header: Header::of::<Request>(GET_CHAINS, NLM_F_DUMP), ..Request::zeroed() };
    let mut found = BTreeSet::new();
    netlink::ask(NETLINK_NETFILTER, &request, |payload| found.extend(leftover(payload)))?;
    Ok(found)
}

/// What a chain is of, if it is kube-proxy's.
fn leftover(payload: &[u8]) -> Option<String> {
    let family = match i32::from(*payload.first()?) {
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        _ => "inet",
    };
    let (mut table, mut chain) = (None, None);
    for (kind, value) in netlink::attributes(payload.get(FAMILY_HEADER..)?) {
        let text = || std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        match kind & TYPE_MASK {
            TABLE => table = text(),
            NAME => chain = text(),
            _ => {}
        }
    }
    match (table?, chain?) {
        (OWN_TABLE, _) => Some(format!("table {family} {OWN_TABLE} (nftables)")),
        (table, OWN_CHAIN) => Some(format!("chain {OWN_CHAIN} of table {family} {table} (iptables)")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, text: &str) -> Vec<u8> {
        let len = u16::try_from(4 + text.len() + 1).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(text.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[track_caller]
    fn check(family: i32, table: &str, chain: &str, expected: Option<&str>) {
        let mut payload = vec![u8::try_from(family).unwrap(), 0, 0, 0];
        payload.extend(attribute(TABLE, table));
        payload.extend(attribute(2, "handle!"));
        payload.extend(attribute(NAME, chain));
        assert_eq!(leftover(&payload).as_deref(), expected);
    }

    #[test]
    fn chains_of_kube_proxy_are_told_from_others() {
        check(libc::NFPROTO_IPV4, "kube-proxy", "services", Some("table ip kube-proxy (nftables)"));
        check(
            libc::NFPROTO_IPV6,
            "nat",
            "KUBE-SERVICES",
            Some("chain KUBE-SERVICES of table ip6 nat (iptables)"),
        );
        check(libc::NFPROTO_IPV4, "nat", "KUBE-SERVICES-2", None);
        check(libc::NFPROTO_IPV4, "filter", "INPUT", None);
        assert_eq!(leftover(&[2, 0, 0, 0, 9]), None);
    }
}
