//! Slots: arrays of backend ids from which one is picked.

use bytemuck::{Pod, Zeroable};

/// Backend ids in one array value. The kernel rounds array values up to eight bytes, so one id a
/// value would waste half the map.
pub const SLOTS_PER_VALUE: u32 = 2;

/// One value of the slot array.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SlotValue {
    /// Backend ids.
    pub ids: [u32; SLOTS_PER_VALUE as usize],
}

const _: () = assert!(size_of::<SlotValue>() == 8);

/// A run of slots: backend ids that are candidates for the same traffic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Slice {
    /// Index of the first slot.
    pub offset: u32,
    /// Number of slots; 0 is no candidate.
    pub len: u32,
}

const _: () = assert!(size_of::<Slice>() == 8);

impl Slice {
    /// The slot that a uniformly random `random` chooses: `floor(random * len / 2^32)`, which
    /// favours no slot by more than one part in 2^32 / len. `None` when the slice is empty.
    #[inline(always)]
    pub const fn choose(&self, random: u32) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let step = ((random as u64 * self.len as u64) >> 32) as u32;
        Some(self.offset.wrapping_add(step))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_choice_lies_in_the_slice(offset in 0u32..1 << 30, len in 1u32..1 << 30, random: u32) {
            let slot = Slice { offset, len }.choose(random).unwrap();
            prop_assert!(slot >= offset && slot - offset < len);
        }

        /// Every slot is chosen by an interval of random numbers, and no interval is longer than
        /// another by more than one number.
        #[test]
        fn every_slot_is_chosen_equally_often(len in 1u32..100_000, step in 0u32..100_000) {
            let step = step % len;
            let first = |step: u64| (step << 32).div_ceil(u64::from(len));
            let share = first(u64::from(step) + 1) - first(u64::from(step));
            prop_assert!(share.abs_diff((1 << 32) / u64::from(len)) <= 1);
            let slice = Slice { offset: 0, len };
            prop_assert_eq!(slice.choose(u32::try_from(first(u64::from(step))).unwrap()), Some(step));
            let last = first(u64::from(step) + 1) - 1;
            prop_assert_eq!(slice.choose(u32::try_from(last).unwrap()), Some(step));
        }
    }

    #[test]
    fn an_empty_slice_chooses_nothing() {
        assert_eq!(Slice { offset: 7, len: 0 }.choose(u32::MAX), None);
    }
}
