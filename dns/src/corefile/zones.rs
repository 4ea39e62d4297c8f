//! Zones as Corefiles write them: names, and ranges of addresses.

use ipnet::IpNet;

use super::Error;
use super::lexer::Line;
use crate::name::Zone;

/// A range is written as at most this many zones.
const ZONES_OF_RANGE_MAX: u32 = 256;

/// The zones of some words; a range that does not end on the border of a label is several.
pub(super) fn parse(line: &Line, words: &[String]) -> Result<Vec<Zone>, Error> {
    let mut zones = Vec::new();
    for word in words {
        match word.parse::<IpNet>() {
            Ok(range) => {
                for name in names(range) {
                    zones.push(zone(line, &name)?);
                }
            }
            Err(_) => zones.push(zone(line, word)?),
        }
    }
    Ok(zones)
}

/// The zones of some words; without words those of the block.
pub(super) fn or(line: &Line, words: &[String], of_block: &[Zone]) -> Result<Vec<Zone>, Error> {
    if words.is_empty() { Ok(of_block.to_vec()) } else { parse(line, words) }
}

/// The zones of some words; without words the root, which all names are below.
pub(super) fn or_root(line: &Line, words: &[String]) -> Result<Vec<Zone>, Error> {
    if words.is_empty() { Ok(vec![zone(line, ".")?]) } else { parse(line, words) }
}

fn zone(line: &Line, name: &str) -> Result<Zone, Error> {
    Zone::parse(name).map_err(|error| line.error(error.to_string()))
}

/// The names of the zones that cover a range: octets of IPv4, nibbles of IPv6.
fn names(range: IpNet) -> Vec<String> {
    let step = if matches!(range, IpNet::V4(_)) { 8 } else { 4 };
    let length = range.prefix_len().div_ceil(step) * step;
    let parts = range.subnets(length).into_iter().flatten().take(ZONES_OF_RANGE_MAX as usize);
    let labels = usize::from(length / step);
    parts
        .map(|part| match part {
            IpNet::V4(part) => {
                let octets = part.network().octets();
                let octets = octets[..labels].iter().rev().map(|octet| format!("{octet}."));
                octets.collect::<String>() + "in-addr.arpa."
            }
            IpNet::V6(part) => {
                let digits = format!("{:032x}", part.network().to_bits());
                let digits = digits[..labels].chars().rev().map(|digit| format!("{digit}."));
                digits.collect::<String>() + "ip6.arpa."
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, count: usize, first: &str) {
        let names = names(range.parse().unwrap());
        assert_eq!((names.len(), names[0].as_str()), (count, first), "{range}");
    }

    #[test]
    fn ranges_are_cut_at_the_borders_of_labels() {
        check("10.0.0.0/8", 1, "10.in-addr.arpa.");
        check("10.0.0.0/17", 128, "0.0.10.in-addr.arpa.");
        check("10.1.2.0/24", 1, "2.1.10.in-addr.arpa.");
        check("0.0.0.0/0", 1, "in-addr.arpa.");
        check("fd00::/8", 1, "d.f.ip6.arpa.");
        check("fd00::/7", 2, "c.f.ip6.arpa.");
    }
}
