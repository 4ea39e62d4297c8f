//! ServiceImports: Services that several clusters share.

use std::net::IpAddr;

use crate::{EndpointPort, Labels, ServiceName};

/// A ServiceImport (multicluster.x-k8s.io/v1alpha1), trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImport {
    /// Namespace and name, which are the Service's in every cluster that exports it.
    pub name: ServiceName,
    /// `spec.type` is `Headless`.
    pub headless: bool,
    /// `spec.ips` that parse; empty for headless ones.
    pub addresses: Vec<IpAddr>,
    /// `spec.ports`, in the object's order; an unnamed one has the empty name.
    pub ports: Vec<EndpointPort>,
    /// Its labels.
    pub labels: Labels,
}
