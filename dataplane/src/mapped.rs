//! A BPF array in this process's memory: reads and writes without system calls.

#![expect(unsafe_code, reason = "shared memory with the kernel")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr;

use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The values of an array map that was made with `BPF_F_MMAPABLE` (kernel 5.5).
///
/// `T`'s size is a multiple of eight, the kernel's own rounding, so values lie side by side.
pub(crate) struct MappedArray<T> {
    start: *mut T,
    len: usize,
    _values: PhantomData<T>,
}

// SAFETY: the memory belongs to the process, not to a thread, and all access is through `&self`
// copies or `&mut self` stores.
unsafe impl<T: Send> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// Maps all `len` values of the array behind `map`.
    pub(crate) fn new(map: impl AsFd, len: u32) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let len = len as usize;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start =
            unsafe { mmap(ptr::null_mut(), len * size_of::<T>(), protection, MapFlags::SHARED, map, 0) }?;
        Ok(Self { start: start.cast(), len, _values: PhantomData })
    }

    /// Number of values.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The value at `index`; `None` beyond the end.
    pub(crate) fn get(&self, index: usize) -> Option<T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: the index is within the mapping, which is page-aligned and lives as long as
        // `self`. Programs only read these arrays, so nothing writes meanwhile.
        Some(unsafe { self.start.add(index).read() })
    }

    /// Stores a value. The caller orders it before the pointer that makes it reachable: a map
    /// update is a system call, which no earlier store passes.
    pub(crate) fn set(&mut self, index: usize, value: T) {
        assert!(index < self.len, "index {index} lies beyond the array's {}", self.len);
        // SAFETY: as in `get`. A program may read the value while it is written; `plan` stores
        // only to slots and backends that no service entry points to, or replaces flags alone.
        unsafe { self.start.add(index).write_volatile(value) };
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; nothing borrowed from it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.len * size_of::<T>()) };
        if let Err(error) = unmapped {
            tracing::debug!(%error, "an array map stayed in memory");
        }
    }
}
