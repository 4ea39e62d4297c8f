//! Kubernetes objects on the wire, as far as they are read: everything else is skipped while it is
//! parsed, and never in memory.
//!
//! Every field may be absent or null, as the API server's own decoder allows; what an absent field
//! means is the [conversion](crate::convert)'s business. Field names and the grouping are those of
//! the API, so its reference documents them.

mod endpoint_slice;
mod endpoints;
mod metadata;
mod namespace;
mod node;
mod nullable;
mod pod;
mod service;
mod service_cidr;
mod service_import;

pub use endpoint_slice::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForName, ObjectReference,
};
pub use endpoints::{EndpointAddress, EndpointSubset, Endpoints, SubsetPort};
pub use metadata::Metadata;
pub use namespace::Namespace;
pub use node::{Node, NodeAddress, NodeSpec, NodeStatus, Taint};
pub use pod::{Condition, Container, ContainerPort, Pod, PodIp, PodSpec, PodStatus};
pub use service::{
    ClientIpConfig, LoadBalancerIngress, LoadBalancerStatus, NumberOrName, Service, ServicePort, ServiceSpec,
    ServiceStatus, SessionAffinityConfig,
};
pub use service_cidr::{ServiceCidr, ServiceCidrSpec};
pub use service_import::{ImportedPort, ServiceImport, ServiceImportSpec};

/// An object of a kind that is read.
pub trait Object {
    /// What every object has.
    fn into_metadata(self) -> Metadata;
}

macro_rules! objects {
    ($($kind:ident)*) => {
        $(impl Object for $kind {
            fn into_metadata(self) -> Metadata {
                self.metadata
            }
        })*
    };
}

objects! { EndpointSlice Endpoints Namespace Node Pod Service ServiceCidr ServiceImport }
