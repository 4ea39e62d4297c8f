//! Access to a packet's bytes.

use bytemuck::Pod;
use seaway_common::Reason;

/// A packet whose bytes can be read and written within its bounds.
pub trait Packet {
    /// Bytes from the link header to the end.
    fn len(&self) -> usize;

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

    /// Whether the packet has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

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
}
