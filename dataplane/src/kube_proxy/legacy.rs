//! kube-proxy's chains among those of legacy iptables and ip6tables, which nftables knows nothing of.
//!
//! The kernel hands out a table as one block of rules (`linux/netfilter_ipv4/ip_tables.h`). A chain
//! begins with a rule whose target is `ERROR` and has the chain's name.

#![expect(unsafe_code, reason = "socket options that no crate wraps")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::net::{AddressFamily, SocketType, socket};

use super::OWN_CHAIN;

/// `IPT_SO_GET_INFO` and `IPT_SO_GET_ENTRIES`; those of IPv6 have the same numbers.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// What a table may take, so that a look at it does not. A rule takes some 300 bytes.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// Looks at a table that changes meanwhile.
const ATTEMPTS: u32 = 5;
/// `struct xt_entry_target`, in front of what a target has of its own.
const TARGET_HEADER: usize = 32;
const TARGET_NAME: usize = 2;
const ERROR_TARGET: &[u8] = b"ERROR";

/// One of the two families of tables.
struct Family {
    /// As nftables calls it.
    name: &'static str,
    domain: AddressFamily,
    level: libc::c_int,
    /// The tables that there are. To ask for another one makes it.
    tables: &'static str,
    /// Where a rule has the offset of its target; that of the next rule follows.
    offsets: usize,
    save: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "ip",
        domain: AddressFamily::INET,
        level: libc::SOL_IP,
        tables: "/proc/thread-self/net/ip_tables_names",
        offsets: 88,
        save: "iptables-legacy-save",
    },
    Family {
        name: "ip6",
        domain: AddressFamily::INET6,
        level: libc::SOL_IPV6,
        tables: "/proc/thread-self/net/ip6_tables_names",
        offsets: 140,
        save: "ip6tables-legacy-save",
    },
];

/// `struct ipt_getinfo`
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Info {
    table: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    entries: u32,
    size: u32,
}

/// `struct ipt_get_entries`, with the padding in front of the rules.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Entries {
    table: [u8; 32],
    size: u32,
    _pad: u32,
}

const _: () = assert!(size_of::<Info>() == 84 && size_of::<Entries>() == 40);

/// Its chains in the calling thread's network namespace, in words.
///
/// # Errors
/// The kernel's.
pub(super) fn leftovers() -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for family in FAMILIES {
        let tables = match fs::read_to_string(family.tables) {
            Err(error) if unseen(&error) => continue,
            tables => tables?,
        };
        for table in tables.lines() {
            found.extend(leftover(&family, table)?);
        }
    }
    Ok(found)
}

/// The file is there where the kernel has legacy iptables, for root of the namespace's owners.
fn unseen(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

fn leftover(family: &Family, table: &str) -> io::Result<Option<String>> {
    let Family { name, save, .. } = family;
    Ok(match rules(family, table)? {
        None => Some(format!("a table {name} {table} too large to look at (legacy iptables; see {save})")),
        Some(rules) => chains(&rules, family.offsets)
            .any(|chain| chain == OWN_CHAIN.as_bytes())
            .then(|| format!("chain {OWN_CHAIN} of table {name} {table} (legacy iptables)")),
    })
}

/// The rules of a table as the kernel has them; nothing if they are too many.
fn rules(family: &Family, table: &str) -> io::Result<Option<Vec<u8>>> {
    let socket = socket(family.domain, SocketType::DGRAM, None)?;
    let mut name = [0; 32];
    let bytes = table.as_bytes();
    name.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(bytes);
    let mut attempts = ATTEMPTS;
    loop {
        let mut info = Info { table: name, ..Info::zeroed() };
        option(&socket, family.level, GET_INFO, bytemuck::bytes_of_mut(&mut info))?;
        let size = info.size as usize;
        if size > TABLE_BYTES_MAX {
            return Ok(None);
        }
        let mut answer = vec![0; size_of::<Entries>() + size];
        let head = Entries { table: name, size: info.size, _pad: 0 };
        answer[..size_of::<Entries>()].copy_from_slice(bytemuck::bytes_of(&head));
        attempts -= 1;
        match option(&socket, family.level, GET_ENTRIES, &mut answer) {
            Ok(()) => return Ok(Some(answer.split_off(size_of::<Entries>()))),
            // It has another size by now.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Names of the chains that begin in a block of rules.
fn chains(rules: &[u8], offsets: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = rules;
    let rules = std::iter::from_fn(move || {
        let number =
            |at: usize| Some(usize::from(u16::from_ne_bytes(rest.get(at..at + 2)?.try_into().ok()?)));
        let (target, next) = (number(offsets)?, number(offsets + 2)?);
        let rule = rest.get(..next).filter(|rule| !rule.is_empty())?;
        rest = &rest[next..];
        Some(rule.get(target..).unwrap_or_default())
    });
    rules.filter_map(|target| {
        let is_error = text(target.get(TARGET_NAME..TARGET_HEADER)?) == ERROR_TARGET;
        is_error.then(|| text(target.get(TARGET_HEADER..).unwrap_or_default()))
    })
}

/// What is in front of the first zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `getsockopt`, whose value says what is asked for and is overwritten by the answer.
fn option(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &mut [u8]) -> io::Result<()> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes at most `len` bytes, which is what `value` has.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule whose target follows its head at once.
    fn rule(offsets: usize, target: &str, own: &str) -> Vec<u8> {
        let head = offsets + 24;
        let mut bytes = vec![0; head + TARGET_HEADER + 32];
        let next = u16::try_from(bytes.len()).unwrap();
        bytes[offsets..offsets + 2].copy_from_slice(&u16::try_from(head).unwrap().to_ne_bytes());
        bytes[offsets + 2..offsets + 4].copy_from_slice(&next.to_ne_bytes());
        bytes[head + TARGET_NAME..][..target.len()].copy_from_slice(target.as_bytes());
        bytes[head + TARGET_HEADER..][..own.len()].copy_from_slice(own.as_bytes());
        bytes
    }

    #[test]
    fn chains_are_found_among_rules() {
        for Family { offsets, .. } in FAMILIES {
            let rules = [
                rule(offsets, "DNAT", OWN_CHAIN),
                rule(offsets, "ERROR", "KUBE-SERVICES"),
                rule(offsets, "", "KUBE-MARK-MASQ"),
                rule(offsets, "ERROR", "ERROR"),
            ];
            let all = rules.concat();
            assert_eq!(chains(&all, offsets).collect::<Vec<_>>(), [&b"KUBE-SERVICES"[..], b"ERROR"]);
            assert_eq!(chains(&all[..all.len() - 1], offsets).count(), 1, "one that is cut short");
        }
    }

    #[test]
    fn a_rule_without_length_ends_the_look() {
        assert_eq!(chains(&[0; 500], 88).count(), 0);
    }
}
