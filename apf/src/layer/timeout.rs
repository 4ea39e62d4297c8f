//! The `grpc-timeout` header: how long a client waits for the reply.

use http::HeaderMap;
use std::time::Duration;

/// The time that the client gives the call: up to eight digits and a unit.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| (1..=8).contains(&number.len()))?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_grpc() {
        let timeout = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            of(&headers)
        };
        assert_eq!(timeout("400m"), Some(Duration::from_millis(400)));
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(["", "m", "123456789m", "5x", "-1S"].map(timeout), [None; 5]);
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
