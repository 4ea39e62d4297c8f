//! Integers whose bytes are in network order, as types.
//!
//! They are aligned newtypes and not byte arrays: arrays can compile to byte-wise loads.

use core::fmt;

use bytemuck::{Pod, Zeroable};

macro_rules! big_endian {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
        pub struct $name($int);

        impl $name {
            /// From a value in host order.
            #[inline(always)]
            pub const fn new(host: $int) -> Self {
                Self(host.to_be())
            }

            /// The value in host order.
            #[inline(always)]
            pub const fn get(self) -> $int {
                <$int>::from_be(self.0)
            }

            /// The bytes as they lie in memory, read as a host integer: what sums and contexts take.
            #[inline(always)]
            pub const fn raw(self) -> $int {
                self.0
            }

            /// The inverse of [`raw`](Self::raw).
            #[inline(always)]
            pub const fn from_raw(raw: $int) -> Self {
                Self(raw)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.get(), f)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.get().cmp(&other.get())
            }
        }
    };
}

big_endian!(
    /// Sixteen bits in network order.
    Be16,
    u16
);
big_endian!(
    /// Thirty-two bits in network order.
    Be32,
    u32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_in_network_order() {
        assert_eq!(bytemuck::bytes_of(&Be16::new(0x0102)), [1, 2]);
        assert_eq!(bytemuck::bytes_of(&Be32::new(0x0102_0304)), [1, 2, 3, 4]);
    }

    #[test]
    fn order_is_that_of_the_numbers() {
        assert!(Be16::new(0x00ff) < Be16::new(0x0100));
    }
}
