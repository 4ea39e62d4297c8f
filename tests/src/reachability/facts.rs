//! The objects of a case as they are now, written as one manifest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The objects by kind, namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    objects: BTreeMap<[String; 3], Value>,
    writes: u32,
}

impl Facts {
    /// Creates or replaces objects.
    pub(crate) fn apply(&mut self, objects: &[Value]) {
        self.objects.extend(objects.iter().map(|object| (key(object), object.clone())));
    }

    /// Deletes what these refer to.
    ///
    /// # Panics
    /// When it is not there.
    pub(crate) fn delete(&mut self, references: &[Value]) {
        for reference in references {
            let gone = self.objects.remove(&key(reference));
            assert!(gone.is_some(), "a step deletes {reference}, which is not there");
        }
    }

    /// All of them as one manifest, never twice the same: a Namespace that nothing refers to counts
    /// the manifests, so that the agent's revision grows with each.
    pub(crate) fn manifest(&mut self) -> String {
        self.writes += 1;
        let name = format!("manifest-{}", self.writes);
        let mut items: Vec<&Value> = self.objects.values().collect();
        let marker = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        items.push(&marker);
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }
}

fn key(object: &Value) -> [String; 3] {
    ["/kind", "/metadata/namespace", "/metadata/name"].map(|path| {
        let text = object.pointer(path).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    })
}
