//! How many seats a request takes, and for how long after its reply.

mod list;
mod mutating;

pub use list::{ListShape, seats_by_count, seats_by_size};

use crate::objects::ObjectStats;
use crate::request::{RequestInfo, Verb};
use crate::seats::Work;
use crate::watches::WatchTracker;

/// Most seats of a list whose size is estimated in bytes.
pub const LIST_SEATS_MAX: u32 = 100;
/// Most seats of a list whose size is estimated in objects.
pub const LIST_SEATS_MAX_BY_COUNT: u32 = 10;
/// Most final seats of a mutating request.
pub const MUTATING_SEATS_MAX: u32 = 10;
/// Fewest seats of any request.
pub const SEATS_MIN: u32 = 1;
/// Objects that one seat serves.
pub const OBJECTS_PER_SEAT: u64 = 100;
/// Bytes that one seat serves.
pub const BYTES_PER_SEAT: u64 = 100_000;
/// Most bytes that a read from the cache keeps in memory.
pub const CACHE_BYTES_MAX: u64 = 1_000_000;
/// Size of an object whose size is unknown: the largest the storage takes.
pub const OBJECT_BYTES_MAX: u64 = 1_500_000;
/// Number of objects assumed when statistics are stale.
pub const STALE_OBJECTS: u64 = 1_000_000_000;
/// Watches that one seat serves.
pub const WATCHES_PER_SEAT: u64 = 10;
/// Time that one notification round takes, in nanoseconds.
pub const EVENT_NS: u64 = 5_000_000;

/// Which estimates are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// Lists by bytes instead of by objects.
    pub size_based: bool,
    /// Watches that start with all objects count as lists.
    pub watch_list: bool,
    /// Mutating requests pay for the watches they notify.
    pub mutating: bool,
    /// The store serves consistent reads from its cache.
    pub consistent_read_from_cache: bool,
}

impl Default for Gates {
    fn default() -> Self {
        Self { size_based: true, watch_list: true, mutating: true, consistent_read_from_cache: false }
    }
}

/// What is known of the objects of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Recent numbers.
    Fresh(ObjectStats),
    /// Numbers too old to trust, or no numbers for an unexpected reason.
    Stale,
    /// The resource is not known here: likely served elsewhere.
    NotFound,
}

/// The estimate for a request. `max_seats` is the most its level allows, 0 if the level does not say;
/// `interested` counts the watches that a change would notify.
#[must_use]
pub fn work(
    request: &RequestInfo,
    known: impl FnOnce() -> Known,
    interested: impl FnOnce() -> u64,
    max_seats: u32,
    gates: Gates,
) -> Work {
    match request.verb {
        Verb::List => list::work(request, known, max_seats, gates),
        Verb::Watch if gates.watch_list => list::work(request, known, max_seats, gates),
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete if gates.mutating => {
            mutating::work(request, interested, max_seats)
        }
        _ => Work::seats(SEATS_MIN),
    }
}

/// As [`work`], with the library's own trackers.
#[must_use]
pub fn tracked(
    request: &RequestInfo,
    objects: &crate::objects::ObjectTracker,
    watches: &WatchTracker,
    now_ns: u64,
    max_seats: u32,
    gates: Gates,
) -> Work {
    let known = || objects.get(&request.group_resource(), now_ns);
    work(request, known, || watches.interested(request), max_seats, gates)
}

/// A limit, lowered to what the level allows.
fn cap(limit: u32, max_seats: u32) -> u32 {
    if max_seats == 0 || max_seats > limit { limit } else { max_seats }
}
