//! ServiceCIDRs.

use serde::Deserialize;

use super::Metadata;
use super::nullable::nullable;

/// A ServiceCIDR (networking.k8s.io/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceCidr {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `spec`.
    pub spec: Option<ServiceCidrSpec>,
}

/// `spec` of a ServiceCIDR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceCidrSpec {
    /// `cidrs`.
    pub cidrs: Option<Vec<String>>,
}
