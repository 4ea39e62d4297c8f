//! Moving values in and out of packet memory, in words of the value's own alignment.
//!
//! IP headers start two bytes off a multiple of four, so their words are not aligned. The kernel
//! allows such accesses on machines that do; the compiler, left alone, reads such a word byte by
//! byte, and with the target feature that allows it, misaligns the stack too, which the kernel
//! refuses. The instructions are therefore written out.

use core::arch::asm;
use core::mem::MaybeUninit;

use bytemuck::Pod;

/// Reads a `T`.
///
/// # Safety
/// All bytes of a `T` from `source` on lie in the packet, and `source` is even.
#[inline(always)]
pub(crate) unsafe fn load<T: Pod>(source: *const u8) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let target = value.as_mut_ptr();
    let unit = align_of::<T>();
    let mut at = 0;
    while at < size_of::<T>() {
        // SAFETY: `at` is a multiple of the alignment and below the size, which is a multiple of
        // it too; so each unit lies in both the packet and `value`, and all of them fill `value`.
        unsafe {
            let from = source.add(at);
            match unit {
                8 => target.byte_add(at).cast::<u64>().write(load_u64(from)),
                4 => target.byte_add(at).cast::<u32>().write(load_u32(from)),
                2 => target.byte_add(at).cast::<u16>().write(from.cast::<u16>().read()),
                _ => target.byte_add(at).cast::<u8>().write(from.read()),
            }
        }
        at += unit;
    }
    // SAFETY: every byte was written, and any bytes make a `Pod`.
    unsafe { value.assume_init() }
}

/// Writes a `T`.
///
/// # Safety
/// As of [`load`].
#[inline(always)]
pub(crate) unsafe fn store<T: Pod>(target: *mut u8, value: &T) {
    let source: *const T = value;
    let unit = align_of::<T>();
    let mut at = 0;
    while at < size_of::<T>() {
        // SAFETY: as in `load`.
        unsafe {
            let to = target.add(at);
            match unit {
                8 => store_u64(to, source.byte_add(at).cast::<u64>().read()),
                4 => store_u32(to, source.byte_add(at).cast::<u32>().read()),
                2 => to.cast::<u16>().write(source.byte_add(at).cast::<u16>().read()),
                _ => to.write(source.byte_add(at).cast::<u8>().read()),
            }
        }
        at += unit;
    }
}

#[inline(always)]
unsafe fn load_u64(source: *const u8) -> u64 {
    let word: u64;
    // SAFETY: the caller vouches for eight readable bytes.
    unsafe {
        asm!("{word} = *(u64 *)({from} + 0)", word = out(reg) word, from = in(reg) source, options(pure, readonly, nostack));
    }
    word
}

#[inline(always)]
unsafe fn load_u32(source: *const u8) -> u32 {
    let word: u64;
    // SAFETY: the caller vouches for four readable bytes.
    unsafe {
        asm!("{word} = *(u32 *)({from} + 0)", word = out(reg) word, from = in(reg) source, options(pure, readonly, nostack));
    }
    word as u32
}

#[inline(always)]
unsafe fn store_u64(target: *mut u8, word: u64) {
    // SAFETY: the caller vouches for eight writable bytes.
    unsafe {
        asm!("*(u64 *)({to} + 0) = {word}", word = in(reg) word, to = in(reg) target, options(nostack));
    }
}

#[inline(always)]
unsafe fn store_u32(target: *mut u8, word: u32) {
    // SAFETY: the caller vouches for four writable bytes.
    unsafe {
        asm!("*(u32 *)({to} + 0) = {word}", word = in(reg) u64::from(word), to = in(reg) target, options(nostack));
    }
}
