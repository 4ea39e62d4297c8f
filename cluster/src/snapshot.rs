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

impl Snapshot {
    /// Whether there is no object of any kind.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.slices.is_empty()
            && self.nodes.is_empty()
            && self.pods.is_empty()
            && self.namespaces.is_empty()
    }

    /// Takes the `Arc` of every object that `previous` holds in an equal form, so that
    /// `Arc::ptr_eq` between the two snapshots means "did not change".
    pub fn share_with(&mut self, previous: &Self) {
        share(&mut self.services, &previous.services);
        share(&mut self.nodes, &previous.nodes);
        share(&mut self.pods, &previous.pods);
        share(&mut self.namespaces, &previous.namespaces);
        for (service, slices) in &mut self.slices {
            if let Some(previous) = previous.slices.get(service) {
                share(slices, previous);
            }
        }
    }

    /// Adds the Namespaces that must exist since objects are in them, and `default`, which every
    /// cluster has. A folder of manifests seldom spells them out.
    pub fn imply_namespaces(&mut self) {
        let services = self.services.keys().chain(self.slices.keys());
        let used = services.chain(self.pods.keys()).map(|name| Arc::clone(&name.namespace));
        let names: Vec<Arc<str>> = used.chain([Arc::from("default")]).collect();
        for name in names {
            let implied = || {
                let label = (Arc::from("kubernetes.io/metadata.name"), Arc::clone(&name));
                Arc::new(Namespace { name: Arc::clone(&name), labels: BTreeMap::from([label]) })
            };
            self.namespaces.entry(Arc::clone(&name)).or_insert_with(implied);
        }
    }
}

fn share<K: Ord, V: Eq>(objects: &mut BTreeMap<K, Arc<V>>, previous: &BTreeMap<K, Arc<V>>) {
    for (name, object) in objects {
        if let Some(before) = previous.get(name).filter(|before| *before == object) {
            *object = Arc::clone(before);
        }
    }
}
