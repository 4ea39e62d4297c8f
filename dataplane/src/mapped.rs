//! A BPF array in this process's memory: reads and writes without system calls.

#![expect(unsafe_code, reason = "shared memory with the kernel")]

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::batch;

/// Octets in memory at first, a multiple of every page size.
const WINDOW_MIN: usize = 64 * 1024;

/// The values of an array map that was made with `BPF_F_MMAPABLE` (kernel 5.5).
///
/// Only the values from the first up to the highest that was used are in memory: the kernel counts
/// every page of such a mapping as resident, used or not. The window doubles when it has to grow.
///
/// `T`'s size is a multiple of eight, the kernel's own rounding, so values lie side by side.
pub(crate) struct MappedArray<T> {
    map: OwnedFd,
    window: Cell<Window>,
    len: usize,
    _values: PhantomData<T>,
}

/// What is in memory: `octets` from `start`.
#[derive(Clone, Copy)]
struct Window {
    start: *mut u8,
    octets: usize,
}

// SAFETY: the memory belongs to the process, not to a thread, and all access is through `&self`
// copies or `&mut self` stores.
unsafe impl<T: Send> Send for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// The first of all `len` values of the array behind `map`.
    pub(crate) fn new(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let nothing = Window { start: ptr::null_mut(), octets: 0 };
        let map = map.try_clone_to_owned()?;
        let array = Self { map, window: Cell::new(nothing), len: len as usize, _values: PhantomData };
        array.place(0)?;
        Ok(array)
    }

    /// Number of values.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Every value, with its index. Read by system calls, since that would draw all into memory.
    pub(crate) fn for_each(&self, mut work: impl FnMut(u32, T)) -> io::Result<()> {
        let most = u32::try_from(self.len).unwrap_or(u32::MAX);
        batch::for_each(self.map.as_fd(), most, |values| {
            values.for_each(|(index, value)| work(index, value));
        })
    }

    /// The value at `index`; `None` beyond the end.
    pub(crate) fn get(&self, index: usize) -> io::Result<Option<T>> {
        let place = self.place(index)?;
        // SAFETY: the place is within the window, which is page-aligned and stays until a later
        // call of `place`. What programs write meanwhile are whole words, each of which is a right one.
        Ok(place.map(|place| unsafe { place.read_volatile() }))
    }

    /// Stores a value. The caller orders it before the pointer that makes it reachable: a map
    /// update is a system call, which no earlier store passes.
    pub(crate) fn set(&mut self, index: usize, value: T) -> io::Result<()> {
        let place = self.place(index)?.ok_or(io::ErrorKind::StorageFull)?;
        // SAFETY: as in `get`. A program may read the value while it is written; `plan` stores
        // only to slots and backends that no service entry points to, or replaces flags alone.
        unsafe { place.write_volatile(value) };
        Ok(())
    }

    /// Where a value is in memory; `None` beyond the end.
    fn place(&self, index: usize) -> io::Result<Option<*mut T>> {
        if index >= self.len {
            return Ok(None);
        }
        let end = (index + 1) * size_of::<T>();
        if end > self.window.get().octets {
            self.grow(end)?;
        }
        let start = self.window.get().start.cast::<T>();
        // SAFETY: the window begins with the array's first value and reaches beyond this one.
        Ok(Some(unsafe { start.add(index) }))
    }

    /// Makes the window reach up to `end` at least.
    fn grow(&self, end: usize) -> io::Result<()> {
        let octets = end.next_power_of_two().max(WINDOW_MIN).min(self.len * size_of::<T>());
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let start =
            unsafe { mmap(ptr::null_mut(), octets, protection, MapFlags::SHARED, &self.map, 0) }?.cast();
        self.window.replace(Window { start, octets }).close();
        Ok(())
    }
}

impl Window {
    /// Gives the memory back; nothing points into it.
    fn close(self) {
        if self.octets == 0 {
            return;
        }
        // SAFETY: exactly the range that was mapped; places are not kept beyond the call that asked for them.
        let unmapped = unsafe { munmap(self.start.cast(), self.octets) };
        if let Err(error) = unmapped {
            tracing::debug!(%error, "an array map stayed in memory");
        }
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        self.window.get().close();
    }
}
