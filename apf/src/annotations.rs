//! What this library reads from the annotations of the API's objects, beside what the API itself has.

use crate::object::Metadata;
use std::time::Duration;

/// On a level: how long its requests may wait in a queue, such as `500ms`, `5s` or `1m`.
pub const MAX_WAIT: &str = "seaway.io/max-wait";
/// On a schema: the weight of each of its flows within the level, 1 to [`WEIGHT_MAX`]. A flow of weight 3
/// gets three times the seats of a flow of weight 1 while both have requests waiting.
pub const FLOW_WEIGHT: &str = "seaway.io/flow-weight";
/// On a level: `true` for shadow mode. Everything is classified, queued and counted as always, but nobody
/// waits and nobody is refused: the metrics say who would have been.
pub const SHADOW: &str = "seaway.io/shadow";
/// The greatest weight.
pub const WEIGHT_MAX: u32 = 1000;

/// The value of [`MAX_WAIT`].
pub(crate) fn max_wait(metadata: &Metadata) -> Result<Option<Duration>, String> {
    let Some(text) = metadata.annotations.get(MAX_WAIT) else { return Ok(None) };
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let wait = number.parse::<u64>().ok().and_then(|number| match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    });
    wait.map(Some).ok_or_else(|| format!("{text:?} is not a duration such as 500ms, 5s or 1m"))
}

/// The value of [`FLOW_WEIGHT`].
pub(crate) fn flow_weight(metadata: &Metadata) -> Result<Option<u32>, String> {
    let Some(text) = metadata.annotations.get(FLOW_WEIGHT) else { return Ok(None) };
    let weight = text.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    weight.map(Some).ok_or_else(|| format!("{text:?} is not a number from 1 to {WEIGHT_MAX}"))
}

/// The value of [`SHADOW`].
pub(crate) fn shadow(metadata: &Metadata) -> Result<bool, String> {
    match metadata.annotations.get(SHADOW).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{other:?} is not true or false")),
    }
}
