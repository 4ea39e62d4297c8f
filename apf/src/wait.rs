//! How long a request may wait in a queue.

/// Part of the time to a request's deadline that it may wait: one in so many.
pub const DEADLINE_PARTS: u64 = 4;
/// The longest wait, in nanoseconds.
pub const MAX_NS: u64 = 60_000_000_000;
/// The wait of a request without a deadline when nothing else is said: a quarter of 60 s.
pub const DEFAULT_NS: u64 = 15_000_000_000;

/// When a request must stop waiting, in nanoseconds of the same clock as the parameters. `received_ns`
/// is when its first byte came in. It limits waiting only, never execution.
#[must_use]
pub fn deadline_ns(now_ns: u64, received_ns: Option<u64>, deadline_ns: Option<u64>, default_ns: u64) -> u64 {
    let start = received_ns.unwrap_or(now_ns);
    let limit = deadline_ns
        .map_or(default_ns, |deadline| deadline.saturating_sub(start) / DEADLINE_PARTS)
        .min(MAX_NS);
    start.saturating_add(limit)
}
