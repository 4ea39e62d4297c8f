//! Endpoints, the predecessor of EndpointSlice.

use serde::Deserialize;

use super::nullable::nullable;
use super::{Metadata, ObjectReference};

/// An Endpoints object (core/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoints {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `subsets`.
    pub subsets: Option<Vec<EndpointSubset>>,
}

/// One entry of `subsets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSubset {
    /// `addresses`.
    pub addresses: Option<Vec<EndpointAddress>>,
    /// `notReadyAddresses`.
    pub not_ready_addresses: Option<Vec<EndpointAddress>>,
    /// `ports`.
    pub ports: Option<Vec<SubsetPort>>,
}

/// One entry of `addresses` or `notReadyAddresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointAddress {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `ip`.
    #[serde(deserialize_with = "nullable")]
    pub ip: String,
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `targetRef`.
    pub target_ref: Option<ObjectReference>,
}

/// One entry of a subset's `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubsetPort {
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    #[serde(deserialize_with = "nullable")]
    pub port: i32,
    /// `protocol`.
    pub protocol: Option<String>,
}
