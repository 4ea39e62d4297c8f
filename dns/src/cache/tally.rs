//! What a cache counts, for as long as the process lives.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of the cache of one block; reloads leave them alone.
#[derive(Debug, Default)]
pub struct CacheTally {
    /// Queries that were looked up.
    pub requests: AtomicU64,
    /// Queries that were answered: with data, and without.
    pub hits: [AtomicU64; 2],
    /// Queries that no answer in date was there for.
    pub misses: AtomicU64,
    /// Answers that were asked for again before their end.
    pub prefetch: AtomicU64,
    /// Answers that were served out of date.
    pub served_stale: AtomicU64,
    /// Answers to another question than was asked, which are not kept.
    pub drops: AtomicU64,
    /// How many are kept: with data, and without. As of when it was asked last.
    pub entries: [AtomicU64; 2],
    /// Answers that had to go for others: with data, and without.
    pub evictions: [AtomicU64; 2],
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
