//! One consistent view of all facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{EndpointSlice, Namespace, Node, ObjectName, Pod, Service, ServiceName};

/// All facts at one moment. Cheap to clone and to keep: unchanged objects are shared between
/// snapshots, so `Arc::ptr_eq` is a quick test for "did not change".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every Service, headless and foreign ones included.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// Slices by the Service they belong to, then by their own name.
    pub slices: BTreeMap<ServiceName, BTreeMap<ObjectName, Arc<EndpointSlice>>>,
    /// Nodes by name.
    pub nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// Pods by name.
    pub pods: BTreeMap<ObjectName, Arc<Pod>>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
}

impl Snapshot {
    /// The slices of a Service, in order of their names.
    pub fn slices_of(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices.get(service).into_iter().flat_map(BTreeMap::values)
    }
}
