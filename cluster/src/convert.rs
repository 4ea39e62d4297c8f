//! Kubernetes objects become facts: the one conversion that every source shares.
//!
//! Each function takes a typed object and returns the fact, or the [`Warning`](crate::Warning) that says why the
//! object is left out. Parts that kube-proxy tolerates, such as an external IP that is none, are
//! left out alone and named in `notes`. Absent fields mean what the API server's defaults make of
//! them; the few defaults that depend on who wrote the object are applied
//! where manifests are read.

mod endpoint_slice;
mod endpoints;
mod namespace;
mod node;
mod pod;
mod service;
mod service_address;
mod service_cidr;
mod service_import;
mod service_port;
mod subject;

pub use endpoint_slice::{endpoint_slice, imported_slice};
pub use endpoints::endpoints;
pub use namespace::namespace;
pub use node::node;
pub use pod::pod;
pub use service::service;
pub(crate) use service_address::{NO_CLUSTER_IP, cluster_ip_texts};
pub use service_cidr::service_cidr;
pub use service_import::service_import;

/// The label that ties a slice to its Service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label that ties a slice to a ServiceImport (KEP-1645).
pub(crate) const IMPORT_NAME_LABEL: &str = "multicluster.kubernetes.io/service-name";
/// The label of such a slice that names the cluster where its endpoints are (KEP-1645).
pub(crate) const SOURCE_CLUSTER_LABEL: &str = "multicluster.kubernetes.io/source-cluster";
/// The label of slices, and of Endpoints, that proxies leave alone.
pub(crate) const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// The label of nodes that names their zone.
pub(crate) const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// An optional name, where the empty one means that there is none.
fn some_name<T: for<'t> From<&'t str>>(text: Option<&String>) -> Option<T> {
    text.filter(|text| !text.is_empty()).map(|text| T::from(text.as_str()))
}
