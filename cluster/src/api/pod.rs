//! Pods.

use serde::Deserialize;

use super::Metadata;
use super::nullable::nullable;

/// A Pod (core/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    /// `metadata`.
    #[serde(deserialize_with = "nullable")]
    pub metadata: Metadata,
    /// `spec`.
    pub spec: Option<PodSpec>,
    /// `status`.
    pub status: Option<PodStatus>,
}

/// `spec` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// `containers`.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<Container>,
    /// `initContainers`.
    pub init_containers: Option<Vec<Container>>,
    /// `hostNetwork`.
    pub host_network: Option<bool>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `subdomain`.
    pub subdomain: Option<String>,
}

/// One entry of `spec.containers` or `spec.initContainers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// `ports`.
    pub ports: Option<Vec<ContainerPort>>,
    /// `restartPolicy`; `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
}

/// One entry of a container's `ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// `containerPort`.
    #[serde(deserialize_with = "nullable")]
    pub container_port: i32,
    /// `hostIP`.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    /// `hostPort`.
    pub host_port: Option<i32>,
    /// `name`.
    pub name: Option<String>,
    /// `protocol`.
    pub protocol: Option<String>,
}

/// `status` of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `conditions`.
    pub conditions: Option<Vec<Condition>>,
    /// `phase`.
    pub phase: Option<String>,
    /// `podIP`.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// `podIPs`.
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIp>>,
}

/// One entry of `status.conditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// `status`.
    #[serde(deserialize_with = "nullable")]
    pub status: String,
    /// `type`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub type_: String,
}

/// One entry of `status.podIPs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodIp {
    /// `ip`.
    #[serde(deserialize_with = "nullable")]
    pub ip: String,
}
