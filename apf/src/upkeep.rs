//! Keeping stored built-in objects up to date: what to write for one of them.

use crate::object::{FlowSchemaSpec, PriorityLevelSpec};
use std::collections::BTreeMap;

/// The annotation that says whether an object follows its built-in spec.
pub const ANNOTATION: &str = "apf.kubernetes.io/autoupdate-spec";
/// Time between two passes, in nanoseconds.
pub const RECONCILE_NS: u64 = 60_000_000_000;
/// Time between two tries of the first pass, in nanoseconds.
pub const INITIAL_RETRY_NS: u64 = 1_000_000_000;
/// When the first pass is given up, in nanoseconds.
pub const INITIAL_GIVE_UP_NS: u64 = 300_000_000_000;

/// Which built-in object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Always follows the built-in spec.
    Mandatory,
    /// Follows it until the user takes over.
    Suggested,
}

/// What to write to the stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// Whether the object follows its built-in spec.
    pub follows: bool,
    /// Whether to write the built-in spec.
    pub spec: bool,
    /// Whether to write the annotation, with the value of `follows`.
    pub annotation: bool,
}

/// Decides for one stored object. `same_spec` tells whether its spec equals the built-in one after
/// defaulting; for the level `exempt`, [`same_level_spec`] leaves out the numbers that may be tuned.
#[must_use]
pub fn update(duty: Duty, annotation: Option<&str>, generation: i64, same_spec: bool) -> Update {
    let parsed = annotation.and_then(boolean);
    let follows = match duty {
        Duty::Mandatory => true,
        Duty::Suggested => parsed.unwrap_or(generation == 1),
    };
    Update { follows, spec: follows && !same_spec, annotation: parsed != Some(follows) }
}

/// Whether a stored object that is no longer built in is to be deleted.
#[must_use]
pub fn is_retired(annotations: &BTreeMap<String, String>, is_builtin: bool) -> bool {
    !is_builtin && annotations.get(ANNOTATION).and_then(|value| boolean(value)) == Some(true)
}

/// Whether a stored level has the built-in spec, defaults applied.
#[must_use]
pub fn same_level_spec(stored: &PriorityLevelSpec, builtin: &PriorityLevelSpec) -> bool {
    let mut stored = stored.clone();
    crate::defaults::priority_level_spec(&mut stored);
    if builtin.kind == "Exempt" && stored.exempt.is_some() {
        stored.exempt.clone_from(&builtin.exempt);
    }
    stored == *builtin
}

/// Whether a stored schema has the built-in spec, defaults applied.
#[must_use]
pub fn same_schema_spec(stored: &FlowSchemaSpec, builtin: &FlowSchemaSpec) -> bool {
    let mut stored = crate::object::FlowSchema { spec: stored.clone(), ..Default::default() };
    crate::defaults::flow_schema(&mut stored);
    stored.spec == *builtin
}

/// A boolean as Go's strconv reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
