//! What was decided about an interface.

use serde::{Deserialize, Serialize};

/// An interface, what it is taken for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its name.
    pub interface: String,
    /// What it is taken for.
    pub role: Role,
    /// Why.
    pub reason: String,
}

/// What an interface is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Traffic from outside arrives by it.
    Node,
    /// It leads to a pod.
    Pod,
    /// Neither: the programs are not attached.
    None,
}

impl Role {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
            Self::None => "none",
        }
    }
}
