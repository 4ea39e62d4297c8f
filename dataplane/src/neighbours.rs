//! The kernel's neighbour entries, as far as packets that go past the stack depend on them.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use bytemuck::{Pod, Zeroable};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::{self, Header, NLM_F_ACK, NLM_F_DUMP};

/// `RTM_NEWNEIGH`: an entry was added or changed.
pub(crate) const NEW: u16 = 28;
/// `RTM_DELNEIGH`
pub(crate) const GONE: u16 = 29;
const RTM_GETNEIGH: u16 = 30;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

const NUD_STALE: u16 = 0x04;
const NUD_PROBE: u16 = 0x10;
/// `NUD_VALID` of the kernel: the hardware address can be used.
const NUD_VALID: u16 = 0x02 | NUD_STALE | 0x08 | NUD_PROBE | 0x40 | 0x80;

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Neighbour {
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
}

/// What a message says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its hardware address, if that can be used.
    hardware: Option<[u8; 6]>,
    pub(crate) stale: bool,
}

/// `struct ndmsg`
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Body {
    family: u8,
    _pad: [u8; 3],
    interface: i32,
    state: u16,
    flags: u8,
    kind: u8,
}

/// With an address of four or sixteen bytes; nothing in it needs padding.
#[repr(C, packed)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Request<A> {
    header: Header,
    body: Body,
    length: u16,
    attribute: u16,
    address: A,
}

/// Reads a message of kind [`NEW`] or [`GONE`]; None if it is about a bridge's forwarding table.
pub(crate) fn read(payload: &[u8]) -> Option<(Neighbour, Entry)> {
    let body: Body = bytemuck::pod_read_unaligned(payload.get(..size_of::<Body>())?);
    let (mut address, mut hardware) = (None, None);
    for (kind, value) in netlink::attributes(payload.get(size_of::<Body>()..)?) {
        match kind {
            NDA_DST => address = ip(value),
            NDA_LLADDR => hardware = value.try_into().ok(),
            _ => {}
        }
    }
    let neighbour = Neighbour { interface: u32::try_from(body.interface).ok()?, address: address? };
    let hardware = hardware.filter(|_| body.state & NUD_VALID != 0);
    Some((neighbour, Entry { hardware, stale: body.state & NUD_STALE != 0 }))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Every entry.
///
/// # Errors
/// The kernel's.
pub(crate) fn list() -> io::Result<BTreeMap<Neighbour, Entry>> {
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    struct All {
        header: Header,
        body: Body,
    }
    let request = All { header: Header::of::<All>(RTM_GETNEIGH, NLM_F_DUMP), ..All::zeroed() };
    let mut entries = BTreeMap::new();
    netlink::ask(NETLINK_ROUTE, &request, |payload| entries.extend(read(payload)))?;
    Ok(entries)
}

/// Has the kernel ask the neighbour whether it still has its hardware address, at once. Without an answer the
/// entry fails, and the next packet looks for the address anew.
///
/// # Errors
/// The kernel's: the entry may be gone.
pub(crate) fn probe(neighbour: Neighbour) -> io::Result<()> {
    let body = |family: i32| Body {
        family: u8::try_from(family).unwrap_or(0),
        interface: i32::try_from(neighbour.interface).unwrap_or(0),
        state: NUD_PROBE,
        ..Body::zeroed()
    };
    match neighbour.address {
        IpAddr::V4(address) => send(body(libc::AF_INET), address.octets()),
        IpAddr::V6(address) => send(body(libc::AF_INET6), address.octets()),
    }
}

fn send<A: Pod>(body: Body, address: A) -> io::Result<()> {
    let header = Header::of::<Request<A>>(NEW, NLM_F_ACK);
    let length = u16::try_from(4 + size_of::<A>()).unwrap_or(0);
    netlink::ask(NETLINK_ROUTE, &Request { header, body, length, attribute: NDA_DST, address }, |_| {})
}

/// The entries that were seen last.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    entries: BTreeMap<Neighbour, Entry>,
}

impl Neighbours {
    /// Replaces all entries. Whether next hops may have changed.
    pub(crate) fn replace(&mut self, entries: BTreeMap<Neighbour, Entry>) -> bool {
        let usable = |entries: &BTreeMap<Neighbour, Entry>| -> BTreeMap<Neighbour, [u8; 6]> {
            entries.iter().filter_map(|(neighbour, entry)| Some((*neighbour, entry.hardware?))).collect()
        };
        let changed = usable(&self.entries) != usable(&entries);
        self.entries = entries;
        changed
    }

    /// Takes note of a message. Whether a hardware address came, went or changed: nothing else matters to
    /// packets.
    pub(crate) fn note(&mut self, kind: u16, neighbour: Neighbour, entry: Entry) -> bool {
        let before = match kind {
            GONE => self.entries.remove(&neighbour),
            _ => self.entries.insert(neighbour, entry),
        };
        let now = if kind == GONE { None } else { entry.hardware };
        before.and_then(|before| before.hardware) != now
    }

    /// Those on one of `interfaces` that nobody has confirmed for a while.
    pub(crate) fn stale(&self, on: impl Fn(u32) -> bool) -> impl Iterator<Item = Neighbour> {
        let stale = move |(neighbour, entry): &(&Neighbour, &Entry)| entry.stale && on(neighbour.interface);
        self.entries.iter().filter(stale).map(|(neighbour, _)| *neighbour)
    }

    /// Whether it is stale now.
    pub(crate) fn is_stale(&self, neighbour: &Neighbour) -> bool {
        self.entries.get(neighbour).is_some_and(|entry| entry.stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUD_INCOMPLETE: u16 = 0x01;
    const NUD_REACHABLE: u16 = 0x02;
    const NUD_FAILED: u16 = 0x20;

    fn message(state: u16, hardware: &[u8]) -> Vec<u8> {
        let body = Body { family: 2, interface: 7, state, ..Body::zeroed() };
        let mut bytes = bytemuck::bytes_of(&body).to_vec();
        bytes.extend([8, 0, 1, 0, 192, 0, 2, 10]);
        if !hardware.is_empty() {
            bytes.extend([10, 0, 2, 0].iter().chain(hardware).chain(&[0, 0]));
        }
        bytes
    }

    /// Messages about one entry, each with whether it matters.
    #[track_caller]
    fn check(messages: &[(u16, u16, &[u8], bool)]) {
        let mut neighbours = Neighbours::default();
        for (step, (kind, state, hardware, matters)) in messages.iter().enumerate() {
            let (neighbour, entry) = read(&message(*state, hardware)).unwrap();
            assert_eq!(neighbour, Neighbour { interface: 7, address: "192.0.2.10".parse().unwrap() });
            assert_eq!(neighbours.note(*kind, neighbour, entry), *matters, "message {step}");
            let stale = *kind == NEW && *state == NUD_STALE;
            assert_eq!(neighbours.is_stale(&neighbour), stale, "message {step}");
            assert_eq!(neighbours.stale(|index| index == 7).count(), usize::from(stale), "message {step}");
            assert_eq!(neighbours.stale(|_| false).count(), 0);
        }
    }

    #[test]
    fn only_hardware_addresses_matter() {
        let (a, b): (&[u8], &[u8]) = (&[2, 0, 0, 0, 0, 1], &[2, 0, 0, 0, 0, 2]);
        check(&[
            (NEW, NUD_INCOMPLETE, &[], false),
            (NEW, NUD_REACHABLE, a, true),
            (NEW, NUD_STALE, a, false),
            (NEW, NUD_PROBE, a, false),
            (NEW, NUD_REACHABLE, a, false),
            (NEW, NUD_REACHABLE, b, true),
            (NEW, NUD_FAILED, b, true),
            (NEW, NUD_STALE, b, true),
            (GONE, NUD_STALE, b, true),
            (GONE, NUD_FAILED, &[], false),
        ]);
    }

    #[test]
    fn a_list_differs_where_its_hardware_addresses_do() {
        let entry = |state| BTreeMap::from([read(&message(state, &[2, 0, 0, 0, 0, 1])).unwrap()]);
        let mut neighbours = Neighbours::default();
        assert!(neighbours.replace(entry(NUD_REACHABLE)));
        assert!(!neighbours.replace(entry(NUD_STALE)));
        assert!(neighbours.replace(entry(NUD_FAILED)));
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        assert_eq!(read(&[0; 4]), None);
        assert_eq!(read(&message(NUD_STALE, &[])[..12]), None, "without an address");
    }
}
