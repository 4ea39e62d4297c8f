//! What a kube-proxy left behind on this node: its rules go on translating what Seaway passes on.
//!
//! Looked for are the tables of its nftables mode, its chains where iptables is a front of nftables,
//! and the interface of its IPVS mode. Rules of legacy iptables are not seen.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETCHAIN`.
const GET_CHAINS: u16 = 10 << 8 | 4;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `struct nfgenmsg`, in front of the attributes.
const FAMILY_HEADER: usize = 4;
/// `NFTA_CHAIN_TABLE` and `NFTA_CHAIN_NAME`.
const TABLE: u16 = 1;
const NAME: u16 = 3;
/// Bits of an attribute's type that are flags.
const TYPE_MASK: u16 = 0x3fff;
/// The table of the nftables mode.
const OWN_TABLE: &str = "kube-proxy";
/// The chain that every rule of the iptables mode is reached by.
const OWN_CHAIN: &str = "KUBE-SERVICES";
/// The interface of the IPVS mode.
const OWN_INTERFACE: &str = "kube-ipvs0";

/// A `struct nlmsghdr` and a `struct nfgenmsg`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request {
    len: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    version: u8,
    resource: u16,
}

const _: () = assert!(size_of::<Request>() == HEADER + FAMILY_HEADER);

/// What there is of it in the calling thread's network namespace, in words.
///
/// # Errors
/// The kernel's, where it does not list its chains: without the right, say.
pub fn leftovers() -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    if Path::new("/sys/class/net").join(OWN_INTERFACE).exists() {
        found.insert(format!("interface {OWN_INTERFACE} (IPVS)"));
    }
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let len = u32::try_from(size_of::<Request>()).unwrap_or(0);
    let request = Request { len, kind: GET_CHAINS, flags: NLM_F_REQUEST | NLM_F_DUMP, ..Request::zeroed() };
    socket.send(bytemuck::bytes_of(&request), 0)?;
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while let Some((kind, payload)) = next_message(&mut rest) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return failure(payload).map(|()| found),
                _ => found.extend(leftover(payload)),
            }
        }
    }
}

/// What a chain is of, if it is kube-proxy's.
fn leftover(payload: &[u8]) -> Option<String> {
    let family = match i32::from(*payload.first()?) {
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        _ => "inet",
    };
    let (mut table, mut chain) = (None, None);
    let mut rest = payload.get(FAMILY_HEADER..)?;
    while let Some((kind, value)) = next_attribute(&mut rest) {
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

/// Kind and payload of the message at the beginning of `bytes`, which moves behind it.
fn next_message<'a>(bytes: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER..len)?;
    *bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, payload))
}

/// Type and value of the attribute at the beginning of `bytes`, which moves behind it.
fn next_attribute<'a>(bytes: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let value = bytes.get(4..len)?;
    *bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, value))
}

fn failure(payload: &[u8]) -> io::Result<()> {
    let code = payload.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
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
