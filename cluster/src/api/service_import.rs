//! ServiceImports, by hand: the kind is a custom resource of the Multi-Cluster Services API.

use serde::Deserialize;

use super::Metadata;
use super::nullable::nullable;

/// A ServiceImport (multicluster.x-k8s.io/v1alpha1, KEP-1645).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceImport {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `spec`.
    pub spec: Option<ServiceImportSpec>,
}

/// `spec` of a ServiceImport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceImportSpec {
    /// `ips`.
    pub ips: Option<Vec<String>>,
    /// `ports`.
    pub ports: Option<Vec<ImportedPort>>,
    /// `type`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ImportedPort {
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    #[serde(deserialize_with = "nullable")]
    pub port: i32,
    /// `protocol`.
    pub protocol: Option<String>,
}
