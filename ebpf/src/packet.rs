//! Access to a packet's bytes, and to what the kernel knows about its way.

use bytemuck::Pod;
use seaway_common::{Addr, Delta, Hop, Reason};

/// A packet whose bytes can be read and written within its bounds.
pub trait Packet {
    /// Whether it is XDP's.
    #[cfg(target_arch = "bpf")]
    const XDP: bool;

    /// The program's context.
    #[cfg(target_arch = "bpf")]
    fn context(&self) -> *mut core::ffi::c_void;

    /// Bytes from the link header to the end that can be read at once.
    fn len(&self) -> usize;

    /// Bytes from the link header to the end, those in further buffers included.
    fn whole_len(&self) -> usize {
        self.len()
    }

    /// Payload bytes of each packet that this one stands for, if it stands for several
    /// (segmentation offload); else 0.
    fn segment_len(&self) -> usize {
        0
    }

    /// The bytes at `offset` as a `T`, which need not be aligned.
    ///
    /// # Errors
    /// [`Reason::Truncated`] if the packet ends before them.
    fn read<T: Pod>(&self, offset: usize) -> Result<T, Reason>;

    /// Overwrites the bytes at `offset`.
    ///
    /// # Errors
    /// [`Reason::Truncated`] if the packet ends before them; nothing is written then.
    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason>;

    /// Brings the transport checksum at `offset` up to date after `addresses` and `ports` changed.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[inline(always)]
    fn update_checksum(&mut self, offset: usize, change: &Change) -> Result<(), Reason> {
        let checksum: u16 = self.read(offset)?;
        if change.optional && checksum == 0 {
            return Ok(()); // No checksum was sent (RFC 768); the rewrite has none to keep right.
        }
        let updated = change.all.update(checksum);
        self.write(offset, if change.optional && updated == 0 { 0xffff } else { updated })
    }

    /// Index of the interface that the packet arrived by or leaves by.
    fn ifindex(&self) -> u32 {
        1
    }

    /// Cookie of the socket of this node that sent the packet; 0 if none did.
    fn socket_cookie(&self) -> u64 {
        0
    }

    /// Whether a program on the way noted that it translated the packet.
    fn is_translated(&self) -> bool {
        false
    }

    /// Notes that the packet is translated, or clears the note.
    fn note_translated(&mut self, _translated: bool) {}

    /// Asks the kernel where a packet with these addresses goes.
    ///
    /// # Errors
    /// [`Reason::NoRoute`]
    fn next_hop(&mut self, route: &Route, way: &mut Way) -> Result<(), Reason>;

    /// Whether the packet has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a rewrite does to a transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// By addresses and ports.
    pub all: Delta,
    /// By the addresses alone, which the checksum covers through the pseudo-header.
    pub addresses: Delta,
    /// Zero means that there is no checksum (UDP).
    pub optional: bool,
    /// The addresses are IPv6 ones, which no header checksum makes up for.
    pub v6: bool,
}

/// A packet's addresses after translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Source.
    pub src: Addr,
    /// Destination.
    pub dst: Addr,
    /// Transport protocol number.
    pub proto: u8,
    /// The route's source address is wanted too.
    pub wants_source: bool,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Index of the interface that it leaves by; 0 when it is for this node itself.
    pub ifindex: u32,
    /// The link addresses; `ifindex` of it is 0 when the neighbour's is not known yet.
    pub hop: Hop,
    /// Longest packet that fits, network header included; 0 when it is not known.
    pub mtu: u16,
    /// The route's source address; zero where the kernel does not say it.
    pub source: Addr,
}

/// A packet that can be made longer and shorter.
pub trait Room: Packet {
    /// Cuts the packet, or extends it with zeros, to `len` bytes.
    ///
    /// # Errors
    /// [`Reason::Truncated`] where the kernel has no such buffer.
    fn set_len(&mut self, len: usize) -> Result<(), Reason>;

    /// Makes room for `len` bytes behind the link header.
    ///
    /// # Errors
    /// As [`set_len`](Self::set_len).
    fn make_room(&mut self, len: usize) -> Result<(), Reason>;

    /// Makes the network header one of the other family, IPv4 if `v4`; its bytes and what the link header
    /// says are left to the caller.
    ///
    /// # Errors
    /// As [`set_len`](Self::set_len).
    fn change_family(&mut self, v4: bool) -> Result<(), Reason>;

    /// Makes room for another network header before the one there. What the link header says is left
    /// to the caller.
    ///
    /// # Errors
    /// As [`set_len`](Self::set_len).
    fn wrap(&mut self, v4: bool) -> Result<(), Reason>;
}

/// A packet in memory, whose way out is the first interface.
#[cfg(not(target_arch = "bpf"))]
impl Packet for Vec<u8> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn read<T: Pod>(&self, offset: usize) -> Result<T, Reason> {
        let bytes = self.get(offset..offset + size_of::<T>()).ok_or(Reason::Truncated)?;
        Ok(bytemuck::pod_read_unaligned(bytes))
    }

    fn write<T: Pod>(&mut self, offset: usize, value: T) -> Result<(), Reason> {
        let bytes = self.get_mut(offset..offset + size_of::<T>()).ok_or(Reason::Truncated)?;
        bytes.copy_from_slice(bytemuck::bytes_of(&value));
        Ok(())
    }

    fn next_hop(&mut self, _route: &Route, way: &mut Way) -> Result<(), Reason> {
        // To 02:00:00:00:00:02, from 02:00:00:00:00:01.
        let addresses = [0x0200_0000, 0x0002_0200, 0x0000_0001].map(seaway_common::Be32::new);
        *way = Way { ifindex: 1, hop: Hop { ifindex: 1, addresses }, mtu: 1500, ..Way::default() };
        Ok(())
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Room for Vec<u8> {
    fn set_len(&mut self, len: usize) -> Result<(), Reason> {
        self.resize(len, 0);
        Ok(())
    }

    fn make_room(&mut self, len: usize) -> Result<(), Reason> {
        self.splice(14..14, std::iter::repeat_n(0, len));
        Ok(())
    }

    fn change_family(&mut self, v4: bool) -> Result<(), Reason> {
        if v4 {
            self.drain(14..14 + crate::cross::LONGER);
            return Ok(());
        }
        self.make_room(crate::cross::LONGER)
    }

    fn wrap(&mut self, v4: bool) -> Result<(), Reason> {
        self.make_room(crate::tunnel::overhead(v4))
    }
}
