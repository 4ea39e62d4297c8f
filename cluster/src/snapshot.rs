//! One consistent view of all facts.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::{
    EndpointSlice, Namespace, Node, ObjectName, Pod, Service, ServiceCidr, ServiceImport, ServiceName, Slices,
};

/// A map of facts. A clone shares all of its nodes with the original, and a change copies only the
/// few on the way to it: keeping a snapshot of ten thousand Services, changing one of them, and
/// finding which one changed all cost as much as the change.
pub type FactMap<K, V> = imbl::OrdMap<K, V>;

/// All facts at one moment. Cheap to clone and to keep: unchanged objects, and the maps around them,
/// are shared between snapshots, so `Arc::ptr_eq` is a quick test for "did not change".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every Service, headless and foreign ones included.
    pub services: FactMap<ServiceName, Arc<Service>>,
    /// Slices by the Service they belong to, then by their own name.
    pub slices: FactMap<ServiceName, Slices>,
    /// Nodes by name.
    pub nodes: FactMap<Arc<str>, Arc<Node>>,
    /// Pods by name.
    pub pods: FactMap<ObjectName, Arc<Pod>>,
    /// Namespaces by name.
    pub namespaces: FactMap<Arc<str>, Arc<Namespace>>,
    /// ServiceCIDRs by name.
    pub service_cidrs: FactMap<Arc<str>, Arc<ServiceCidr>>,
    /// ServiceImports by name.
    pub imports: FactMap<ServiceName, Arc<ServiceImport>>,
    /// Slices by the ServiceImport they belong to, then by their own name.
    pub imported: FactMap<ServiceName, Slices>,
}

impl Snapshot {
    /// The slices of a Service, in order of their names.
    pub fn slices_of(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices.get(service).into_iter().flat_map(|slices| slices.values())
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
            && self.service_cidrs.is_empty()
            && self.imports.is_empty()
            && self.imported.is_empty()
    }

    /// Services that are not what they were `before`, and those whose slices are not. Where both
    /// snapshots come from one source this costs as much as there are changes.
    pub fn changed_services<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a ServiceName> {
        let services = before.services.diff(&self.services).map(|item| key_of(&item));
        let slices = before.slices.diff(&self.slices).map(|item| key_of(&item));
        services.chain(slices).collect()
    }

    /// The same of ServiceImports.
    pub fn changed_imports<'a>(&'a self, before: &'a Self) -> BTreeSet<&'a ServiceName> {
        let imports = before.imports.diff(&self.imports).map(|item| key_of(&item));
        let slices = before.imported.diff(&self.imported).map(|item| key_of(&item));
        imports.chain(slices).collect()
    }

    /// Takes the `Arc` of every object that `previous` holds in an equal form, so that
    /// `Arc::ptr_eq` between the two snapshots means "did not change".
    pub fn share_with(&mut self, previous: &Self) {
        share(&mut self.services, &previous.services, |now, _| now.clone());
        share(&mut self.nodes, &previous.nodes, |now, _| now.clone());
        share(&mut self.pods, &previous.pods, |now, _| now.clone());
        share(&mut self.namespaces, &previous.namespaces, |now, _| now.clone());
        share(&mut self.service_cidrs, &previous.service_cidrs, |now, _| now.clone());
        share(&mut self.imports, &previous.imports, |now, _| now.clone());
        share(&mut self.slices, &previous.slices, Slices::shared_with);
        share(&mut self.imported, &previous.imported, Slices::shared_with);
    }

    /// Adds the Namespaces that must exist since objects are in them, and `default`, which every
    /// cluster has. A folder of manifests seldom spells them out.
    pub fn imply_namespaces(&mut self) {
        let services = self.services.keys().chain(self.slices.keys());
        let services = services.chain(self.imports.keys()).chain(self.imported.keys());
        let used = services.chain(self.pods.keys()).map(|name| Arc::clone(&name.namespace));
        let names: Vec<Arc<str>> = used.chain([Arc::from("default")]).collect();
        for name in names {
            let implied = || {
                let label = (Arc::from("kubernetes.io/metadata.name"), Arc::clone(&name));
                Arc::new(Namespace { name: Arc::clone(&name), labels: [label].into_iter().collect() })
            };
            self.namespaces.entry(Arc::clone(&name)).or_insert_with(implied);
        }
    }
}

fn key_of<'a, K, V>(item: &DiffItem<'a, 'a, K, V>) -> &'a K {
    match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    }
}

/// Makes `objects` anew out of `previous` and what differs from it.
fn share<K: Ord + Clone, V: Eq + Clone>(
    objects: &mut FactMap<K, V>,
    previous: &FactMap<K, V>,
    changed: impl Fn(&V, &V) -> V,
) {
    if previous.is_empty() {
        return;
    }
    let mut shared = previous.clone();
    for item in previous.diff(objects) {
        match item {
            DiffItem::Add(key, value) => _ = shared.insert(key.clone(), value.clone()),
            DiffItem::Update { old: (_, old), new: (key, new) } => {
                shared.insert(key.clone(), changed(new, old));
            }
            DiffItem::Remove(key, _) => _ = shared.remove(key),
        }
    }
    *objects = shared;
}
