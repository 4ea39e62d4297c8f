//! The `Dangling` condition of schemas, and how often it may be written.

use crate::engine::Dangling;
use crate::object::{Condition, FlowSchema};
use std::collections::BTreeMap;

/// Who writes the condition by server-side apply.
pub const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
/// Most writes to one schema per minute.
pub const WRITES_PER_MINUTE: usize = 6;
/// Bounds of the delay, in seconds, after which a write that was put off is tried again.
pub const RETRY_S: [u64; 2] = [30, 75];
/// Bounds of the exponential delay, in milliseconds, before a digestion that failed is tried again.
pub const BACKOFF_MS: [u64; 2] = [200, 8 * 3_600_000];

const MINUTE_NS: u64 = 60_000_000_000;

/// Decides which conditions to write.
#[derive(Clone, Debug, Default)]
pub struct StatusWriter {
    /// Times of recent writes, per schema.
    writes: BTreeMap<String, Vec<u64>>,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Conditions to write now, by schema.
    pub now: BTreeMap<String, Condition>,
    /// Schemas whose condition was written too often in the last minute: digest again later.
    pub later: Vec<String>,
}

/// The condition that a schema should have.
#[must_use]
pub fn condition(found: &Dangling) -> Condition {
    let (status, reason, what) = if found.dangling {
        ("True", "NotFound", "but there is no such object")
    } else {
        ("False", "Found", "and it exists")
    };
    Condition {
        kind: "Dangling".into(),
        status: status.into(),
        reason: reason.into(),
        message: format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {:?} {what}",
            found.level
        ),
    }
}

impl StatusWriter {
    /// Compares what a digestion found with what the objects say.
    pub fn plan(&mut self, now_ns: u64, found: &[Dangling], objects: &[FlowSchema]) -> Writes {
        let mut writes = Writes::default();
        self.writes.retain(|name, times| {
            times.retain(|at| now_ns.saturating_sub(*at) < MINUTE_NS);
            !times.is_empty() && found.iter().any(|one| one.schema == *name)
        });
        for one in found {
            let wanted = condition(one);
            let object = objects.iter().find(|object| object.metadata.name == one.schema);
            let same = object.is_some_and(|object| object.status.conditions.contains(&wanted));
            if same {
                continue;
            }
            let times = self.writes.entry(one.schema.clone()).or_default();
            if times.len() < WRITES_PER_MINUTE {
                times.push(now_ns);
                writes.now.insert(one.schema.clone(), wanted);
            } else {
                writes.later.push(one.schema.clone());
            }
        }
        writes
    }
}
