//! Objects with their versions, and the changes that led to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// The kinds that are served: name, its part of the path, and its version.
const KINDS: [(&str, &str, &str); 7] = [
    ("Namespace", "namespaces", "v1"),
    ("Node", "nodes", "v1"),
    ("Pod", "pods", "v1"),
    ("Service", "services", "v1"),
    ("EndpointSlice", "endpointslices", "discovery.k8s.io/v1"),
    ("ServiceCIDR", "servicecidrs", "networking.k8s.io/v1"),
    ("ServiceImport", "serviceimports", "multicluster.x-k8s.io/v1alpha1"),
];

/// All objects, by their kind's part of the path and then by name.
#[derive(Debug, Default)]
pub(super) struct Objects {
    stored: BTreeMap<(&'static str, String), Arc<Object>>,
    changes: Vec<Change>,
    version: u64,
    /// Changes up to this version are forgotten.
    compacted: u64,
}

/// An object with its text.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) text: String,
}

/// A change of an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) path: &'static str,
    pub(super) kind: &'static str,
    pub(super) object: Arc<Object>,
}

impl Objects {
    pub(super) fn put(&mut self, mut value: Value) {
        let (_, path, api_version) = kind_of(value["kind"].as_str().unwrap_or_default());
        value["apiVersion"] = api_version.into();
        let key = (path, name_of(&value));
        let kind = if self.stored.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let object = self.next(value);
        self.stored.insert(key, Arc::clone(&object));
        self.changes.push(Change { version: self.version, path, kind, object });
    }

    pub(super) fn delete(&mut self, kind: &str, name: &str) {
        let (_, path, _) = kind_of(kind);
        let last = self.stored.remove(&(path, name.to_owned()));
        let last = last.unwrap_or_else(|| panic!("there is no {kind} {name}"));
        let object = self.next(last.value.clone());
        self.changes.push(Change { version: self.version, path, kind: "DELETED", object });
    }

    pub(super) fn compact(&mut self) {
        // The watch that has seen everything is too old as well once there is something newer.
        self.version += 1;
        self.compacted = self.version;
        self.changes.clear();
    }

    pub(super) fn jump(&mut self, by: u64) {
        self.version += by;
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a watch or a list cannot go on from here.
    pub(super) fn forgot(&self, version: u64) -> bool {
        version < self.compacted
    }

    pub(super) fn of_path(&self, path: &str) -> impl Iterator<Item = (&String, &Arc<Object>)> {
        let own = self.stored.iter().filter(move |((of, _), _)| *of == path);
        own.map(|((_, name), object)| (name, object))
    }

    /// The changes of a kind after a version, in order.
    pub(super) fn after(&self, path: &str, version: u64) -> Vec<Change> {
        let first = self.changes.partition_point(|change| change.version <= version);
        self.changes[first..].iter().filter(|change| change.path == path).cloned().collect()
    }

    fn next(&mut self, mut value: Value) -> Arc<Object> {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        Arc::new(Object { text: value.to_string(), value })
    }
}

/// The kind's name and version, by its part of the path.
pub(super) fn kind_of_path(path: &str) -> Option<(&'static str, &'static str)> {
    KINDS.iter().find(|(_, of, _)| *of == path).map(|(kind, _, version)| (*kind, *version))
}

fn kind_of(kind: &str) -> (&'static str, &'static str, &'static str) {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    *found.unwrap_or_else(|| panic!("the kind {kind:?} is not served"))
}

fn name_of(value: &Value) -> String {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    match value["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
