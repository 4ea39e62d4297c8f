//! Lists, and watches that start with all objects.

use super::{
    BYTES_PER_SEAT, CACHE_BYTES_MAX, Gates, Known, LIST_SEATS_MAX, LIST_SEATS_MAX_BY_COUNT, OBJECT_BYTES_MAX,
    OBJECTS_PER_SEAT, SEATS_MIN, STALE_OBJECTS, cap,
};
use crate::number;
use crate::objects::ObjectStats;
use crate::request::{ListOptions, RequestInfo, Verb, requires_exact};
use crate::seats::Work;

/// What shapes the cost of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListShape {
    /// Objects of the resource and their mean size.
    pub stats: ObjectStats,
    /// Most objects to return; 0 for no limit.
    pub limit: i64,
    /// Whether a field or label selector narrows the result after reading.
    pub has_selector: bool,
    /// Whether the cache serves it.
    pub from_cache: bool,
    /// Whether it is about one object.
    pub single: bool,
}

/// Seats by bytes read, before they are clamped.
#[must_use]
pub fn seats_by_size(shape: ListShape) -> u64 {
    let ObjectStats { count, mean_bytes } = shape.stats;
    let object_bytes = if mean_bytes == 0 && count != 0 { OBJECT_BYTES_MAX } else { mean_bytes };
    let objects = match (shape.single, shape.from_cache, shape.has_selector) {
        (true, ..) => 1,
        (_, false, true) => shape.limited().max(count / 2),
        _ => shape.limited(),
    };
    let bytes = objects.saturating_mul(object_bytes);
    let bytes = if shape.from_cache { bytes.min(CACHE_BYTES_MAX) } else { bytes };
    bytes.div_ceil(BYTES_PER_SEAT)
}

/// Seats by objects read, before they are clamped.
#[must_use]
pub fn seats_by_count(shape: ListShape) -> u64 {
    let count = shape.stats.count;
    let objects = match (shape.single, shape.from_cache, shape.has_selector) {
        (true, ..) => 1,
        (_, true, _) => count,
        (_, _, true) => count.saturating_add(shape.limited()),
        _ => shape.limited().saturating_mul(2),
    };
    objects.div_ceil(OBJECTS_PER_SEAT)
}

impl ListShape {
    fn limited(self) -> u64 {
        u64::try_from(self.limit).map_or(self.stats.count, |limit| {
            if limit > 0 && limit < self.stats.count { limit } else { self.stats.count }
        })
    }
}

pub(super) fn work(
    request: &RequestInfo,
    known: impl FnOnce() -> Known,
    max_seats: u32,
    gates: Gates,
) -> Work {
    let limit = if gates.size_based { LIST_SEATS_MAX } else { LIST_SEATS_MAX_BY_COUNT };
    let cap = cap(limit, max_seats);
    let Ok(options) = ListOptions::parse(&request.query) else { return Work::seats(cap) };
    let is_watch = request.verb == Verb::Watch;
    let continues_watch = is_watch
        && options.send_initial_events != Some(true)
        && !matches!(options.resource_version.as_str(), "" | "0");
    if continues_watch {
        return Work::seats(SEATS_MIN);
    }
    let stats = match known() {
        Known::NotFound => return Work::seats(SEATS_MIN),
        Known::Stale => ObjectStats { count: STALE_OBJECTS, mean_bytes: OBJECT_BYTES_MAX },
        Known::Fresh(stats) => stats,
    };
    let shape = ListShape {
        stats,
        limit: options.limit,
        has_selector: !options.field_selector.is_empty() || !options.label_selector.is_empty(),
        from_cache: is_watch || !from_storage(&options, gates),
        single: !request.name.is_empty()
            || requires_exact(&options.field_selector, "metadata.name").is_some(),
    };
    let seats = if gates.size_based { seats_by_size(shape) } else { seats_by_count(shape) };
    Work::seats(number::ceil_seats(number::float(seats)).clamp(SEATS_MIN, cap.max(SEATS_MIN)))
}

fn from_storage(options: &ListOptions, gates: Gates) -> bool {
    let version = options.resource_version.as_str();
    match options.resource_version_match.as_str() {
        "NotOlderThan" => false,
        "" => {
            !options.continue_token.is_empty()
                || options.limit > 0 && !matches!(version, "" | "0")
                || version.is_empty() && !gates.consistent_read_from_cache
        }
        _ => true,
    }
}
