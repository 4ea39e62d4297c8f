//! Durations as Go writes them: `5s`, `1m30s`, `250ms`.

use std::time::Duration;

use super::Error;
use super::lexer::Line;

/// Reads a duration; a bare number is seconds.
pub(super) fn parse(line: &Line, text: &str) -> Result<Duration, Error> {
    read(text).ok_or_else(|| line.error(format!("{text:?} is not a duration such as 5s, 250ms or 1m30s")))
}

fn read(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let count: u32 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|letter: char| letter.is_ascii_digit()).unwrap_or(unit.len());
        let each = match &unit[..end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        total = total.checked_add(each.checked_mul(count)?)?;
        rest = &unit[end..];
    }
    (!text.is_empty()).then_some(total)
}
