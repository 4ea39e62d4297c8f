//! The `cache` plugin's options.

use std::time::Duration;

use super::lexer::Line;
use super::{Error, duration, zones};
use crate::cache::{CacheOptions, Limits, Prefetch, Stale};

const TTL_MAX_S: u32 = 86_400;
const KNOWN: &str = "denial, disable, keepttl, prefetch AMOUNT [DURATION] [PERCENT%], \
                     serve_stale [DURATION] [immediate|verify [DURATION]], servfail DURATION and success";

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
            ("serve_stale", words) => serve_stale(option, words, &mut options)?,
            ("prefetch", words) => options.prefetch = Some(prefetch(option, words)?),
            ("keepttl", []) => options.keep_ttl = true,
            _ => return Err(option.unknown(KNOWN)),
        }
    }
    Ok(options)
}

/// `[DURATION] [immediate | verify [DURATION]]`.
fn serve_stale(line: &Line, words: &[String], options: &mut CacheOptions) -> Result<(), Error> {
    let (time, mode) = match words {
        [first, mode @ ..] if !matches!(first.as_str(), "immediate" | "verify") => (Some(first), mode),
        mode => (None, mode),
    };
    if let Some(time) = time {
        options.stale = duration::parse(line, time)?;
    }
    options.stale_when = match mode {
        [] => Stale::Immediate,
        [word] if word == "immediate" => Stale::Immediate,
        [word] if word == "verify" => Stale::Failing,
        [word, time] if word == "verify" => Stale::After(duration::parse(line, time)?),
        _ => return Err(line.error("it takes a duration, and immediate, or verify with a duration")),
    };
    Ok(())
}

/// `AMOUNT [DURATION] [PERCENT%]`.
fn prefetch(line: &Line, words: &[String]) -> Result<Prefetch, Error> {
    let [hits, rest @ ..] = words else {
        return Err(line.error("it takes a number of hits, the pause between them, and a share as in 10%"));
    };
    let hits = line.number(hits, 0, u32::MAX)?;
    let mut prefetch = Prefetch { hits, window: Duration::from_secs(60), percent: 10 };
    for word in rest {
        match word.strip_suffix('%') {
            Some(share) => prefetch.percent = line.number(share, 10, 90)?,
            None => prefetch.window = duration::parse(line, word)?,
        }
    }
    Ok(prefetch)
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
