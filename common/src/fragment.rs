//! Fragments: the ports of a datagram whose later parts carry none.

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

/// What the first fragment said. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentValue {
    /// Time of the first fragment, in kernel ticks.
    pub seen: u64,
    /// Source port.
    pub sport: Be16,
    /// Destination port.
    pub dport: Be16,
    /// Explicit padding, zero.
    pub _pad: u32,
}

const _: () = assert!(size_of::<FragmentValue>() == 16);
