//! Validation: every broken rule of an object at its field path.

mod level;
mod name;
mod schema;

pub use level::{QUEUES_MAX, priority_level};
pub use schema::{PRECEDENCE_MAX, flow_schema};

use crate::object::Status;
use crate::read::{Configuration, ObjectErrors};
use std::collections::BTreeSet;
use std::fmt;

/// The class of a broken rule, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A value is missing.
    Required,
    /// A value breaks a rule.
    Invalid,
    /// A value is none of the known ones.
    NotSupported,
    /// A value must not be given here.
    Forbidden,
    /// A value may appear once only.
    Duplicate,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, such as `spec.rules[0].subjects`.
    pub field: String,
    /// The class of the rule.
    pub class: Class,
    /// What to do about it.
    pub message: String,
}

/// What the caller allows.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a limited level may have 0 shares.
    pub zero_shares: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { zero_shares: true }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.field, self.class, self.message)
    }
}

/// Every broken rule of a configuration, also names given twice.
///
/// # Errors
/// One entry per object that breaks a rule.
pub fn configuration(all: &Configuration) -> Result<(), Vec<ObjectErrors>> {
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    let schemas = all.flow_schemas.iter().map(|s| ("FlowSchema", &s.metadata.name, flow_schema(s)));
    let levels = all
        .priority_levels
        .iter()
        .map(|l| ("PriorityLevelConfiguration", &l.metadata.name, priority_level(l, Options::default())));
    for (kind, name, mut errors) in schemas.chain(levels) {
        if !seen.insert((kind, name)) {
            errors.push(error("metadata.name", Class::Duplicate, format!("{name:?} is given twice")));
        }
        if !errors.is_empty() {
            broken.push(ObjectErrors { object: format!("{kind} {name:?}"), errors });
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn error(field: impl Into<String>, class: Class, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), class, message: message.into() }
}

fn object_name(value: &str, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(error("metadata.name", Class::Required, "give the object a name"));
    } else if !name::is_subdomain(value) {
        errors.push(error("metadata.name", Class::Invalid, name::SUBDOMAIN));
    }
}

fn conditions(status: &Status, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, condition) in status.conditions.iter().enumerate() {
        let field = format!("status.conditions[{index}].type");
        if condition.kind.is_empty() {
            errors.push(error(field, Class::Required, "name the condition"));
        } else if !seen.insert(&condition.kind) {
            errors.push(error(field, Class::Duplicate, "keep one condition per type"));
        }
    }
}
