//! Names as text.

use std::fmt::Write;
use std::net::IpAddr;

use super::{LABEL_MAX, NAME_MAX};

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a domain name: {problem}")]
pub struct BadName {
    text: String,
    problem: &'static str,
}

/// The octets of a name written as text (RFC 1035 section 5.1: `\.` and `\DDD` escape); a missing
/// final dot is added, and the letters keep their case.
///
/// # Errors
/// If a label is empty or too long, the name is too long, or an escape is none.
pub fn parse(text: &str) -> Result<Box<[u8]>, BadName> {
    let bad = |problem| BadName { text: text.to_owned(), problem };
    let mut wire = vec![0];
    let mut start = 0;
    let mut octets = text.trim_end_matches("\n").bytes().peekable();
    if text == "." {
        return Ok(Box::new([0]));
    }
    while let Some(octet) = octets.next() {
        if octet == b'.' {
            if wire.len() == start + 1 {
                return Err(bad("a label is empty"));
            }
            start = wire.len();
            wire.push(0);
            continue;
        }
        let octet =
            if octet == b'\\' { escaped(&mut octets).ok_or_else(|| bad("an escape is cut"))? } else { octet };
        if usize::from(wire[start]) == LABEL_MAX {
            return Err(bad("a label is longer than 63 octets"));
        }
        wire.push(octet);
        wire[start] += 1;
    }
    if wire[start] != 0 {
        wire.push(0);
    }
    match wire.len() {
        1 => Err(bad("it is empty")),
        2..=NAME_MAX => Ok(wire.into()),
        _ => Err(bad("it is longer than 255 octets")),
    }
}

fn escaped(octets: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digits = [first, octets.next()?, octets.next()?];
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// A name as text with its final dot, octets that are not printable escaped.
pub fn text(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = wire;
    while let [length, tail @ ..] = rest {
        if *length == 0 {
            break;
        }
        let (label, after) = tail.split_at(usize::from(*length).min(tail.len()));
        for octet in label {
            match octet {
                b'.' | b'\\' => text.extend(['\\', char::from(*octet)]),
                b'!'..=b'~' => text.push(char::from(*octet)),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
        rest = after;
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// The name that leads back from an address, as octets.
pub fn reverse(address: IpAddr) -> Box<[u8]> {
    let mut text = String::new();
    let written = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            write!(text, "{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", address.to_bits());
            text.extend(digits.chars().rev().flat_map(|digit| [digit, '.']));
            write!(text, "ip6.arpa.")
        }
    };
    debug_assert!(written.is_ok(), "a string can grow");
    parse(&text).unwrap_or_else(|_| Box::new([0]))
}
