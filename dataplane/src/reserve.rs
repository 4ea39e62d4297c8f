//! Keeping local programs off the ports that masqueraded packets and node ports use.

use std::fs;
use std::io;

const LOCAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Adds the ports to `ip_local_reserved_ports` of the calling thread's network namespace, if they
/// overlap with those that local programs are given. Returns whether anything was changed.
///
/// # Errors
/// The file system's: without the right to write there, say.
pub fn ports(first: u16, last: u16) -> io::Result<bool> {
    let local = fs::read_to_string(LOCAL)?;
    let reserved = fs::read_to_string(RESERVED)?;
    match wanted(&local, &reserved, first, last) {
        None => Ok(false),
        Some(text) => fs::write(RESERVED, text).map(|()| true),
    }
}

/// The new list, if it has to change.
fn wanted(local: &str, reserved: &str, first: u16, last: u16) -> Option<String> {
    let mut bounds = local.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let (low, high) = (bounds.next()?, bounds.next()?);
    let covers = |range: &str| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let bounds = from.parse::<u16>().ok().zip(to.parse::<u16>().ok());
        bounds.is_some_and(|(from, to)| from <= first && last <= to)
    };
    let reserved = reserved.trim();
    if first > high || last < low || reserved.split(',').any(covers) {
        return None;
    }
    let own = format!("{first}-{last}");
    Some(if reserved.is_empty() { own } else { format!("{reserved},{own}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(local: &str, reserved: &str, expected: Option<&str>) {
        assert_eq!(wanted(local, reserved, 10_000, 29_999).as_deref(), expected);
    }

    #[test]
    fn only_what_overlaps_is_reserved_and_only_once() {
        check("32768\t60999\n", "\n", None);
        check("1024\t60999\n", "\n", Some("10000-29999"));
        check("1024\t60999\n", "8080,9148\n", Some("8080,9148,10000-29999"));
        check("1024\t60999\n", "8080,9000-40000\n", None);
        check("1024\t60999\n", "30000-32767\n", Some("30000-32767,10000-29999"));
    }
}
