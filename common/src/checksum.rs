//! Internet checksums (RFC 1071) and their incremental update (RFC 1624).
//!
//! Sums do not depend on byte order as long as one order is used throughout, so all arithmetic
//! here is on words as they lie in memory.

use bytemuck::{Pod, Zeroable};

use crate::Addr;

/// A one's complement sum that has not been folded yet. Holds 2^16 words without overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u32);

/// The difference that a rewrite makes to a one's complement sum.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Delta(u16);

impl Sum {
    /// Adds the sixteen-bit words of `data`; an odd last byte counts as if a zero followed.
    #[must_use]
    #[inline(always)]
    pub fn bytes(mut self, data: &[u8]) -> Self {
        let mut words = data.chunks_exact(2);
        for word in &mut words {
            self.0 = fold_once(self.0 + u32::from(u16::from_ne_bytes([word[0], word[1]])));
        }
        if let [last] = words.remainder() {
            self.0 = fold_once(self.0 + u32::from(u16::from_ne_bytes([*last, 0])));
        }
        self
    }

    /// Adds a word as it lies in memory.
    #[inline(always)]
    pub const fn word(self, word: u32) -> Self {
        Self(fold_once(self.0) + (word & 0xffff) + (word >> 16))
    }

    /// The checksum to put into a header, in memory order.
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

impl Delta {
    /// The difference between two words, as they lie in memory.
    #[inline(always)]
    pub const fn between(old: u32, new: u32) -> Self {
        // Two to the 16th and to the 32nd are both one in this arithmetic.
        let sum = !old as u64 + new as u64;
        Self(fold((sum as u32 & 0xffff) + (sum as u32 >> 16) + (sum >> 32) as u32))
    }

    /// The difference between two addresses.
    #[inline(always)]
    pub fn between_addrs(old: &Addr, new: &Addr) -> Self {
        // Word by word and without a loop: programs have no stack to spare for one.
        let (old, new) = (old.words(), new.words());
        Self::between(old[0].raw(), new[0].raw())
            .and(Self::between(old[1].raw(), new[1].raw()))
            .and(Self::between(old[2].raw(), new[2].raw()))
            .and(Self::between(old[3].raw(), new[3].raw()))
    }

    /// The difference as it lies in memory: what the kernel's checksum helpers take.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// Both differences together.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(fold_once(self.0 as u32 + other.0 as u32) as u16)
    }

    /// The difference that the opposite change makes.
    #[inline(always)]
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(!self.0)
    }

    /// The checksum (in memory order) after the change: `HC' = ~(~HC + delta)` (RFC 1624, eqn. 3).
    #[inline(always)]
    pub const fn update(self, checksum: u16) -> u16 {
        !(fold_once((!checksum) as u32 + self.0 as u32) as u16)
    }
}

/// Adds the carries back in until sixteen bits remain: two rounds for any 32-bit sum. For a sum of two
/// words one is enough.
#[inline(always)]
const fn fold(sum: u32) -> u16 {
    let sum = fold_once(sum);
    fold_once(sum) as u16
}

#[inline(always)]
const fn fold_once(sum: u32) -> u32 {
    (sum & 0xffff) + (sum >> 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 1071, section 3: the sum of these bytes is ddf2.
    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum().to_ne_bytes(), (!0xddf2u16).to_be_bytes());
    }

    proptest! {
        /// What a rewrite makes of a checksum is what a full sum over the new data gives. One's
        /// complement has two zeros, which receivers take as equal.
        #[test]
        fn an_update_equals_a_full_sum(
            old: [u32; 4], new: [u32; 4], rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let full = |head: &[u32; 4]| Sum::default().bytes(bytemuck::bytes_of(head)).bytes(&rest).checksum();
            let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
            let change = Delta::between_addrs(&bytemuck::cast(old), &bytemuck::cast(new));
            prop_assert_eq!(zero(change.update(full(&old))), zero(full(&new)));
            prop_assert_eq!(zero(change.negated().update(full(&new))), zero(full(&old)));
            let words = Delta::between(old[0], new[0]).and(Delta::between(old[1], new[1]));
            let half = |of: &[u32; 4]| Sum::default().bytes(bytemuck::cast_slice(&of[..2])).bytes(&rest).checksum();
            prop_assert_eq!(zero(words.update(half(&old))), zero(half(&new)));
        }
    }
}
