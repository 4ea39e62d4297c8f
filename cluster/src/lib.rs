//! Facts: what Kubernetes, or a folder of manifests, says about Services and their endpoints.
//!
//! This is the only crate that knows Kubernetes types. Sources turn API objects into the plain
//! types here, trimmed to what Seaway reads, and hand out immutable [`Snapshot`]s. A snapshot
//! holds no decision: which endpoint is eligible for what is the dataplane's business, and which
//! name answers with what is the DNS server's.

#![forbid(unsafe_code)]

mod endpoint_slice;
mod name;
mod node;
mod service;
mod snapshot;

pub use endpoint_slice::{AddressFamily, Endpoint, EndpointPort, EndpointSlice, Hints};
pub use name::{ObjectName, ServiceName};
pub use node::{Namespace, Node, Pod, PodPort, Taint};
pub use service::{
    Protocol, Service, ServicePort, ServiceType, SessionAffinity, TargetPort, TrafficDistribution,
    TrafficPolicy,
};
pub use snapshot::Snapshot;
