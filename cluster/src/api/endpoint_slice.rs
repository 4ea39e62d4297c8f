//! EndpointSlices.

use serde::Deserialize;

use super::Metadata;
use super::nullable::nullable;

/// An EndpointSlice (discovery/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `addressType`.
    #[serde(deserialize_with = "nullable")]
    pub address_type: String,
    /// `endpoints`.
    pub endpoints: Option<Vec<Endpoint>>,
    /// `ports`.
    pub ports: Option<Vec<EndpointPort>>,
}

/// One entry of `endpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// `addresses`.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<String>,
    /// `conditions`.
    pub conditions: Option<EndpointConditions>,
    /// `hints`.
    pub hints: Option<EndpointHints>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `targetRef`.
    pub target_ref: Option<ObjectReference>,
    /// `zone`.
    pub zone: Option<String>,
}

/// `conditions` of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointConditions {
    /// `ready`.
    pub ready: Option<bool>,
    /// `serving`.
    pub serving: Option<bool>,
    /// `terminating`.
    pub terminating: Option<bool>,
}

/// `hints` of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointHints {
    /// `forNodes`.
    pub for_nodes: Option<Vec<ForName>>,
    /// `forZones`.
    pub for_zones: Option<Vec<ForName>>,
}

/// One entry of `forNodes` or `forZones`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ForName {
    /// `name`.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

/// `targetRef`: the object behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectReference {
    /// `kind`.
    pub kind: Option<String>,
    /// `name`.
    pub name: Option<String>,
}

/// One entry of `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointPort {
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    pub port: Option<i32>,
    /// `protocol`.
    pub protocol: Option<String>,
}
