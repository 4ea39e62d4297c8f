//! Nodes, Pods, Namespaces and ServiceCIDRs, as far as they are read.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Labels, ObjectName, Protocol};

/// A Node, trimmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// The label `topology.kubernetes.io/zone`; absent and empty mean the same.
    pub zone: Option<Arc<str>>,
    /// `status.addresses` of type `InternalIP`, then `ExternalIP`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// `spec.taints`; the health check reads one of them.
    pub taints: Vec<Taint>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

/// One entry of `spec.taints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The taint's key.
    pub key: Arc<str>,
}

/// A Pod, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.podIPs` (or `podIP`).
    pub addresses: Vec<IpAddr>,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostname`.
    pub hostname: Option<Arc<str>>,
    /// `spec.subdomain`.
    pub subdomain: Option<Arc<str>>,
    /// The condition `Ready` is `True`.
    pub ready: bool,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `status.phase` is `Succeeded` or `Failed`: the pod never serves again.
    pub finished: bool,
    /// `ports` of all containers, and of init containers that restart always (sidecars).
    pub ports: Vec<PodPort>,
}

/// One container port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// The name a Service's `targetPort` may use; empty when unnamed.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where the container listens.
    pub container_port: u16,
    /// The port of the node that leads to it; 0 is none.
    pub host_port: u16,
    /// The node address it is limited to; `None` is every one.
    pub host_ip: Option<IpAddr>,
}

/// A Namespace, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.labels`.
    pub labels: Labels,
}

/// A ServiceCIDR (networking.k8s.io/v1): where cluster IPs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.cidrs` that parse, host bits cleared.
    pub ranges: Vec<IpNet>,
}
