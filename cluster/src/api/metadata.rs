//! `metadata`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `metadata` of any object (`ObjectMeta`, meta/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// `name`.
    pub name: Option<String>,
    /// `namespace`.
    pub namespace: Option<String>,
    /// `labels`.
    pub labels: Option<BTreeMap<String, String>>,
    /// `annotations`.
    pub annotations: Option<BTreeMap<String, String>>,
    /// `deletionTimestamp`; only its presence is read.
    pub deletion_timestamp: Option<String>,
    /// `resourceVersion`; an opaque text.
    pub resource_version: Option<String>,
}
