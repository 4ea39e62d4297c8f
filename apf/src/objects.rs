//! How many objects each resource has, and how large they are.

use crate::estimate::Known;
use crate::lock::RwLock;
use rustc_hash::FxHashMap;

/// Age after which numbers are not trusted, in nanoseconds.
pub const STALE_AFTER_NS: u64 = 180_000_000_000;
/// Age after which numbers are forgotten, and the time between two looks, in nanoseconds.
pub const PRUNE_AFTER_NS: u64 = 3_600_000_000_000;
/// Most resources remembered; further ones stay unknown.
pub const RESOURCES_MAX: usize = 100_000;

/// Numbers of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectStats {
    /// Objects stored.
    pub count: u64,
    /// Mean size of one in bytes; 0 if unknown.
    pub mean_bytes: u64,
}

/// Remembers the numbers of each resource.
#[derive(Debug, Default)]
pub struct ObjectTracker {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    resources: FxHashMap<String, (ObjectStats, u64)>,
    pruned_ns: u64,
}

impl ObjectTracker {
    /// Notes the numbers of `resource[.group]`. Whoever stores the objects calls this about once a minute.
    pub fn set(&self, group_resource: &str, stats: ObjectStats, now_ns: u64) {
        let mut table = self.table.write();
        if now_ns.saturating_sub(table.pruned_ns) >= PRUNE_AFTER_NS {
            table.resources.retain(|_, (_, at)| now_ns.saturating_sub(*at) <= PRUNE_AFTER_NS);
            table.pruned_ns = now_ns;
        }
        if table.resources.len() < RESOURCES_MAX || table.resources.contains_key(group_resource) {
            table.resources.insert(group_resource.to_owned(), (stats, now_ns));
        }
    }

    /// What is known of `resource[.group]`.
    #[must_use]
    pub fn get(&self, group_resource: &str, now_ns: u64) -> Known {
        match self.table.read().resources.get(group_resource) {
            None => Known::NotFound,
            Some((_, at)) if now_ns.saturating_sub(*at) > STALE_AFTER_NS => Known::Stale,
            Some((stats, _)) => Known::Fresh(*stats),
        }
    }
}
