//! A packet in plain memory, with what the kernel keeps beside its bytes.

use bytemuck::Pod;
use seaway_common::Reason;
use seaway_ebpf::{Packet, Room, Route, Way};

/// A packet on its way through the node's network stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPacket {
    /// From the link header on.
    pub bytes: Vec<u8>,
    /// The stack's note that a program translated it.
    translated: bool,
}

impl MemoryPacket {
    /// A packet that has just arrived.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, translated: false }
    }
}

impl Packet for MemoryPacket {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read<T: Pod>(&self, offset: usize) -> Result<T, Reason> {
        self.bytes.read(offset)
    }

    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        self.bytes.write(offset, value)
    }

    fn is_translated(&self) -> bool {
        self.translated
    }

    fn note_translated(&mut self, translated: bool) {
        self.translated = translated;
    }

    fn next_hop(&mut self, route: &Route, way: &mut Way) -> Result<(), Reason> {
        self.bytes.next_hop(route, way)
    }
}

impl Room for MemoryPacket {
    fn set_len(&mut self, len: usize) -> Result<(), Reason> {
        Room::set_len(&mut self.bytes, len)
    }

    fn make_room(&mut self, len: usize) -> Result<(), Reason> {
        self.bytes.make_room(len)
    }

    fn change_family(&mut self, v4: bool) -> Result<(), Reason> {
        self.bytes.change_family(v4)
    }

    fn wrap(&mut self, v4: bool) -> Result<(), Reason> {
        self.bytes.wrap(v4)
    }
}
