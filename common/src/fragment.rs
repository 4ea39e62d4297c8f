//! Fragments: what the parts of a datagram share.

use bytemuck::{Pod, Zeroable};

use crate::{Addr, Be16, Be32};

/// What all fragments of a datagram share (RFC 791 section 3.2, RFC 8200 section 4.5). 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct FragmentKey {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Identification; sixteen bits over IPv4.
    pub id: Be32,
    /// Transport protocol number.
    pub proto: u8,
    /// Explicit padding, zero.
    pub _pad: [u8; 3],
}

const _: () = assert!(size_of::<FragmentKey>() == 40);

/// The first fragment has not come: later ones are held for it.
pub const FRAGMENT_HELD: u8 = 1;
/// The first fragment belongs to no flow.
pub const FRAGMENT_FOREIGN: u8 = 2;
/// The first fragment belongs to a flow.
pub const FRAGMENT_PORTS: u8 = 3;

/// What is known about a datagram. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentValue {
    /// Time of the first fragment, or of the first one that is held; in kernel ticks.
    pub seen: u64,
    /// Source port.
    pub sport: Be16,
    /// Destination port.
    pub dport: Be16,
    /// The identification that the fragments get; zero keeps theirs.
    pub id: Be32,
    /// `FRAGMENT_*`.
    pub state: u8,
    /// Fragments that are held.
    pub held: u8,
    /// Explicit padding, zero.
    pub _pad: [u8; 6],
}

const _: () = assert!(size_of::<FragmentValue>() == 24);

/// Key of a fragment that is held. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct HeldKey {
    /// Its datagram.
    pub datagram: FragmentKey,
    /// Which of the datagram's fragments, by arrival.
    pub index: u32,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<HeldKey>() == 48);
