//! An IPv4 or IPv6 address in one 16-byte form.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

use crate::Be32;

/// An address; IPv4 is kept as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
///
/// One form for both families keeps one copy of every map and program, and lets a dual-stack
/// socket that connects to `::ffff:a.b.c.d` find the IPv4 service. Two words of eight bytes, in
/// memory order: programs build, copy and compare keys word by word.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Addr {
    halves: [u64; 2],
}

const _: () = assert!(size_of::<Addr>() == 16);

/// The third word of every IPv4-mapped address.
const MAPPED: Be32 = Be32::new(0xffff);

impl Addr {
    /// From the four bytes of an IPv4 address.
    #[inline(always)]
    pub fn v4(word: Be32) -> Self {
        Self { halves: [0, bytemuck::must_cast([MAPPED, word])] }
    }

    /// From the four words of an IPv6 address, mapped ones included.
    #[inline(always)]
    pub fn v6(words: [Be32; 4]) -> Self {
        bytemuck::must_cast(words)
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        // The third word is the first in memory of the second half, whatever the machine's order.
        let third = if cfg!(target_endian = "little") {
            self.halves[1] as u32
        } else {
            (self.halves[1] >> 32) as u32
        };
        self.halves[0] == 0 && third == MAPPED.raw()
    }

    /// Whether packets can come from this address and go back to it: not unspecified, loopback,
    /// multicast, reserved or broadcast (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5).
    #[inline(always)]
    pub fn is_unicast(&self) -> bool {
        let last = self.last_word().get();
        if self.is_v4() {
            let first = last >> 24;
            return first != 0 && first != 127 && first < 224;
        }
        self.words()[0].get() >> 24 != 0xff && (self.halves[0] != 0 || self.words()[2].get() != 0 || last > 1)
    }

    /// Whether this is an IPv6 address that routers forward nothing from (RFC 4291 section 2.5.6). Linux does
    /// forward packets from link-local IPv4 addresses.
    #[inline(always)]
    pub fn is_v6_link_local(&self) -> bool {
        self.words()[0].get() >> 22 == 0xfe80 >> 6
    }

    /// The IPv4 address's four bytes; the last four of an IPv6 one.
    #[inline(always)]
    pub fn last_word(&self) -> Be32 {
        self.words()[3]
    }

    /// The bits of this address that `mask` has too.
    #[inline(always)]
    #[must_use]
    pub const fn masked(&self, mask: &Self) -> Self {
        Self { halves: [self.halves[0] & mask.halves[0], self.halves[1] & mask.halves[1]] }
    }

    /// Whether every bit is zero.
    #[inline(always)]
    pub const fn is_zero(&self) -> bool {
        self.halves[0] | self.halves[1] == 0
    }

    /// All sixteen bytes.
    #[inline(always)]
    pub fn words(&self) -> [Be32; 4] {
        bytemuck::must_cast(*self)
    }
}

impl PartialOrd for Addr {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Addr {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.words().cmp(&other.words())
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self::v6(bytemuck::cast(octets))
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        if addr.is_v4() {
            Ipv4Addr::from(addr.last_word().get()).into()
        } else {
            Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(addr)).into()
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&IpAddr::from(*self), f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn both_families_round_trip() {
        for text in ["0.0.0.0", "10.96.0.80", "255.255.255.255", "::", "fd96::10", "2001:db8::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(ip)).to_string(), text);
        }
    }

    #[test]
    fn addresses_of_no_single_host_are_not_unicast() {
        for (text, unicast) in [
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("224.0.0.5", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("1.0.0.0", true),
            ("169.254.169.254", true),
            ("223.255.255.255", true),
            ("::", false),
            ("::1", false),
            ("ff02::1", false),
            ("::2", true),
            ("fe80::1", true),
        ] {
            assert_eq!(Addr::from(text.parse::<IpAddr>().unwrap()).is_unicast(), unicast, "{text}");
        }
    }

    #[test]
    fn link_local_is_one_range_of_ipv6() {
        for (text, local) in
            [("fe80::1", true), ("febf::1", true), ("fec0::1", false), ("169.254.0.1", false)]
        {
            assert_eq!(Addr::from(text.parse::<IpAddr>().unwrap()).is_v6_link_local(), local, "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        let mapped: IpAddr = "::ffff:10.96.0.80".parse().unwrap();
        let plain: IpAddr = "10.96.0.80".parse().unwrap();
        assert_eq!(Addr::from(mapped), Addr::from(plain));
        assert_eq!(Addr::from(plain), Addr::v4(Be32::new(0x0a60_0050)));
    }
}
