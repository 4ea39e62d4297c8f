//! Facts: what Kubernetes, or a folder of manifests, says about Services and their endpoints.
//!
//! This is the only crate that knows Kubernetes types. Sources turn API objects into the plain
//! types here, trimmed to what Seaway reads, and hand out immutable [`Snapshot`]s. A snapshot
//! holds no decision: which endpoint is eligible for what is the dataplane's business, and which
//! name answers with what is the DNS server's.
//!
//! ```text
//! folder ── manifests ─── defaults ─┐               ┌─ endpoints_of (join)
//!                                   ├─ convert ─ Snapshot
//! API server ── api_server ─────────┘               └─ controller (Pods, Endpoints → slices; folder only)
//! ```

#![forbid(unsafe_code)]

pub mod api;
pub mod api_server;
pub mod convert;
pub mod freshness;
pub mod manifests;
pub mod requests;
pub mod source;
mod update;

mod address;
mod controller;
mod defaults;
mod endpoint_slice;
mod exposure;
mod join;
mod labels;
mod name;
mod node;
mod pool;
mod service;
mod service_import;
mod slice_index;
mod slices;
mod snapshot;
mod text;
mod warning;

pub use endpoint_slice::{AddressFamily, Endpoint, EndpointPort, EndpointSlice, Hints, Locality, Names};
pub use join::{JoinedEndpoint, PortKey};
pub use labels::Labels;
pub use name::{ObjectName, ServiceName};
pub use node::{Namespace, Node, Pod, PodPort, ServiceCidr, Taint};
pub use service::{
    Ingress, Protocol, Service, ServicePort, ServiceType, SessionAffinity, TargetPort, TrafficDistribution,
    TrafficPolicy,
};
pub use service_import::ServiceImport;
pub use slice_index::SliceIndex;
pub use slices::Slices;
pub use snapshot::{FactMap, Snapshot};
pub use text::Text;
pub use update::{Arrivals, Triggers, Update, Waiting};
pub use warning::{Kind, ObjectId, Place, Warning};
