//! What a `cache` plugin says.

use std::time::Duration;

use crate::name::Zone;

/// What CoreDNS keeps: 256 shards of 39.
const CAPACITY_DEFAULT: usize = 9984;
const TTL_MIN_S: u32 = 5;
const SUCCESS_MAX_S: u32 = 3600;
const DENIAL_MAX_S: u32 = 1800;
const FAILURE_S: u32 = 5;
const STALE_DEFAULT: Duration = Duration::from_hours(1);

/// The `cache` plugin of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The zones whose answers are kept; empty means all.
    pub zones: Vec<Zone>,
    /// Answers with data.
    pub success: Limits,
    /// Answers without.
    pub denial: Limits,
    /// How long a failure is kept, in seconds.
    pub failure_s: u32,
    /// How long after its end an answer may yet be served.
    pub stale: Duration,
    /// When it is.
    pub stale_when: Stale,
    /// Answers that are asked for often are asked for again before they end.
    pub prefetch: Option<Prefetch>,
    /// Kept answers go out with the time to live that they came with.
    pub keep_ttl: bool,
}

/// When an answer that is out of date is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// When no upstream gives a better one.
    Failing,
    /// At once; a better one is asked for meanwhile.
    Immediate,
    /// When no upstream gives a better one within this time.
    After(Duration),
}

/// What is asked for often, and when it is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// So many hits.
    pub hits: u32,
    /// With shorter pauses between them than this.
    pub window: Duration,
    /// When no more than this share of its time is left, in hundredths.
    pub percent: u32,
}

/// What is kept of one sort of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many answers; 0 keeps none.
    pub capacity: usize,
    /// The shortest time, in seconds.
    pub min_s: u32,
    /// The longest time, in seconds.
    pub max_s: u32,
    /// Zones of which none are kept.
    pub disabled: Vec<Zone>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let limits =
            |max_s| Limits { capacity: CAPACITY_DEFAULT, min_s: TTL_MIN_S, max_s, disabled: Vec::new() };
        Self {
            zones: Vec::new(),
            success: limits(SUCCESS_MAX_S),
            denial: limits(DENIAL_MAX_S),
            failure_s: FAILURE_S,
            stale: STALE_DEFAULT,
            stale_when: Stale::Failing,
            prefetch: None,
            keep_ttl: false,
        }
    }
}
