//! Addresses spelt as names: `4.3.2.1.in-addr.arpa`, and `1-2-3-4` of pods.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Name;

const V4_OCTETS: usize = 4;
const V6_NIBBLES: usize = 32;

/// What a name in the reverse tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A whole address.
    Address(IpAddr),
    /// The beginning that the addresses from one to another share.
    Part(IpAddr, IpAddr),
}

/// The place of a name in the reverse tree; `None` where there can be none.
pub(super) fn place(name: &Name<'_>) -> Option<Place> {
    let depth = name.labels().checked_sub(2)?;
    let labels = (0..depth).rev().map(|index| name.label(index));
    match name.label(depth) {
        b"in-addr" if depth <= V4_OCTETS => {
            let (mut low, mut high) = ([0; V4_OCTETS], [u8::MAX; V4_OCTETS]);
            for (index, label) in labels.enumerate() {
                let octet = octet(label)?;
                (low[index], high[index]) = (octet, octet);
            }
            Some(Place::between(Ipv4Addr::from(low).into(), Ipv4Addr::from(high).into()))
        }
        b"ip6" if depth <= V6_NIBBLES => {
            let (mut low, mut high) = (0, u128::MAX);
            for (index, label) in labels.enumerate() {
                let shift = 4 * (V6_NIBBLES - 1 - index);
                let nibble = u128::from(nibble(label)?) << shift;
                low |= nibble;
                high &= nibble | !(0xf << shift);
            }
            Some(Place::between(Ipv6Addr::from(low).into(), Ipv6Addr::from(high).into()))
        }
        _ => None,
    }
}

/// The address that a whole name of the reverse tree stands for.
pub(crate) fn address_of(name: &Name<'_>) -> Option<IpAddr> {
    match place(name)? {
        Place::Address(address) => Some(address),
        Place::Part(..) => None,
    }
}

/// The address of a pod's label: dashes for dots, or for colons.
pub(super) fn dashed(label: &[u8]) -> Option<IpAddr> {
    let mut octets = [0; 39];
    let text = octets.get_mut(..label.len())?;
    text.copy_from_slice(label);
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    let v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let separator = if v4 { b'.' } else { b':' };
    text.iter_mut().filter(|octet| **octet == b'-').for_each(|octet| *octet = separator);
    let text = std::str::from_utf8(text).ok()?;
    if v4 { text.parse().ok().map(IpAddr::V4) } else { text.parse().ok().map(IpAddr::V6) }
}

impl Place {
    fn between(low: IpAddr, high: IpAddr) -> Self {
        if low == high { Self::Address(low) } else { Self::Part(low, high) }
    }
}

/// A decimal number up to 255, without leading zeros.
fn octet(label: &[u8]) -> Option<u8> {
    let plain = label == b"0" || !label.starts_with(b"0");
    let digits = plain && label.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(label).ok().filter(|_| digits)?.parse().ok()
}

fn nibble(label: &[u8]) -> Option<u8> {
    let [digit] = label else { return None };
    char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name;

    fn check(text: &str, expected: Option<Place>) {
        let wire = name::parse(text).unwrap();
        assert_eq!(place(&Name::read(&wire).unwrap()), expected, "{text}");
    }

    fn check_dashed(label: &str, expected: Option<&str>) {
        assert_eq!(dashed(label.as_bytes()), expected.map(|text| text.parse().unwrap()), "{label}");
    }

    #[test]
    fn names_in_the_reverse_tree_are_addresses_or_parts_of_them() {
        let v4 = |a: [u8; 4]| IpAddr::from(a);
        check("4.3.2.1.in-addr.arpa.", Some(Place::Address(v4([1, 2, 3, 4]))));
        check("2.1.in-addr.arpa.", Some(Place::Part(v4([1, 2, 0, 0]), v4([1, 2, 255, 255]))));
        check("04.3.2.1.in-addr.arpa.", None);
        check("256.3.2.1.in-addr.arpa.", None);
        check("5.4.3.2.1.in-addr.arpa.", None);
        check("x.in-addr.arpa.", None);
        let full = format!("1.{}d.f.ip6.arpa.", "0.".repeat(29));
        check(&full, Some(Place::Address("fd00::1".parse().unwrap())));
        let (low, high) =
            ("fd00::".parse().unwrap(), "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap());
        check("d.f.ip6.arpa.", Some(Place::Part(low, high)));
        check("fd.ip6.arpa.", None);
    }

    #[test]
    fn dashes_stand_for_dots_or_colons() {
        check_dashed("10-1-9-1", Some("10.1.9.1"));
        check_dashed("fd00-9--1", Some("fd00:9::1"));
        check_dashed("fd00-9-0-0-0-0-0-1", Some("fd00:9::1"));
        check_dashed("01-2-3-4", None);
        check_dashed("1-2-3", None);
        check_dashed("1-2-3-4-5", None);
        check_dashed("1.2.3.4", None);
        check_dashed("web", None);
    }
}
