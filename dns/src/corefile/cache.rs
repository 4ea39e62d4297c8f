//! The `cache` plugin's options.

use std::time::Duration;

use super::lexer::Line;
use super::{Error, duration, zones};
use crate::cache::{CacheOptions, Limits};

const TTL_MAX_S: u32 = 86_400;

/// Reads `cache [TTL] [ZONES...] { ... }`.
pub(super) fn parse(line: &Line) -> Result<CacheOptions, Error> {
    let mut options = CacheOptions::default();
    let mut words = line.arguments();
    if let [first, rest @ ..] = words
        && let Ok(ttl_s) = first.parse::<u32>()
    {
        let ttl_s = line.number(&ttl_s.to_string(), 1, TTL_MAX_S)?;
        options.success.max_s = ttl_s.min(options.success.max_s);
        options.denial.max_s = ttl_s.min(options.denial.max_s);
        words = rest;
    }
    options.zones = zones::parse(line, words)?;
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("success", words) => limits(option, words, &mut options.success)?,
            ("denial", words) => limits(option, words, &mut options.denial)?,
            ("disable", [sort, names @ ..]) => {
                let limits = match sort.as_str() {
                    "success" => &mut options.success,
                    "denial" => &mut options.denial,
                    _ => return Err(option.error("disable takes success or denial, and zones")),
                };
                if names.is_empty() {
                    limits.capacity = 0;
                }
                limits.disabled.extend(zones::parse(option, names)?);
            }
            ("servfail", [time]) => {
                let time = duration::parse(option, time)?.min(Duration::from_secs(300));
                options.failure_s = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
            }
            ("serve_stale", []) => {}
            ("serve_stale", [time]) => options.stale = duration::parse(option, time)?,
            _ => {
                return Err(
                    option.unknown("denial, disable, serve_stale DURATION, servfail DURATION and success")
                );
            }
        }
    }
    Ok(options)
}

/// `CAPACITY [TTL [MINTTL]]`.
fn limits(line: &Line, words: &[String], limits: &mut Limits) -> Result<(), Error> {
    let [capacity, times @ ..] = words else {
        return Err(line.error("it takes a capacity, and a longest and a shortest time in seconds"));
    };
    limits.capacity = line.number(capacity, 0, usize::MAX)?;
    if let [max, ..] = times {
        limits.max_s = line.number(max, 1, TTL_MAX_S)?;
    }
    if let [_, min, ..] = times {
        limits.min_s = line.number(min, 0, limits.max_s)?;
    }
    limits.min_s = limits.min_s.min(limits.max_s);
    if times.len() > 2 { Err(line.error("it takes three numbers at most")) } else { Ok(()) }
}
