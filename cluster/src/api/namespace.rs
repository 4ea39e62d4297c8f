//! Namespaces.

use serde::Deserialize;

use super::Metadata;
use super::nullable::nullable;

/// A Namespace (core/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Namespace {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
}
