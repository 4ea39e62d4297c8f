//! The bridge between `bytemuck`'s plain data and aya's.

#![expect(unsafe_code, reason = "aya's marker for plain data can only be implemented unsafely")]

/// Any plain value as a key or value of an aya map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Raw<T>(pub(crate) T);

// SAFETY: `T: Pod` has no padding and no invalid bit patterns, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Raw<T> {}
