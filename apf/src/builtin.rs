//! The built-in objects: the mandatory ones that always exist and the suggested ones.

use crate::object::{FlowSchema, PriorityLevel};
use crate::read::Configuration;
use std::sync::LazyLock;

/// The exempt schema and level.
pub const EXEMPT: &str = "exempt";
/// The schema and level of last resort.
pub const CATCH_ALL: &str = "catch-all";

/// Built-in objects by duty.
#[derive(Debug)]
pub struct Builtin {
    /// Exist always, whatever is configured.
    pub mandatory: Configuration,
    /// A sensible start for a cluster; can be changed and removed.
    pub suggested: Configuration,
}

/// The built-in objects, as of Kubernetes 1.29 and later.
pub static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let [mandatory, suggested] =
        [include_str!("builtin/mandatory.json"), include_str!("builtin/suggested.json")]
            .map(|text| Configuration::from_own_text(text).expect("the embedded objects parse"));
    Builtin { mandatory, suggested }
});

/// All built-in objects, mandatory first.
#[must_use]
pub fn all() -> Configuration {
    let mut all = BUILTIN.mandatory.clone();
    all.flow_schemas.extend_from_slice(&BUILTIN.suggested.flow_schemas);
    all.priority_levels.extend_from_slice(&BUILTIN.suggested.priority_levels);
    all
}

/// The mandatory schema of this name.
#[must_use]
pub fn mandatory_schema(name: &str) -> Option<&'static FlowSchema> {
    BUILTIN.mandatory.flow_schemas.iter().find(|schema| schema.metadata.name == name)
}

/// The mandatory level of this name.
#[must_use]
pub fn mandatory_level(name: &str) -> Option<&'static PriorityLevel> {
    BUILTIN.mandatory.priority_levels.iter().find(|level| level.metadata.name == name)
}
