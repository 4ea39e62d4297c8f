//! Which watches run, and how many of them a change notifies.

use crate::lock::RwLock;
use crate::request::{ListOptions, RequestInfo, Verb, requires_exact};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Counts running watches by what they watch.
#[derive(Clone, Debug, Default)]
pub struct WatchTracker {
    counts: Arc<RwLock<FxHashMap<Key, u64>>>,
}

/// Keeps a watch counted until dropped.
#[derive(Debug)]
pub struct WatchGuard {
    tracker: WatchTracker,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

impl WatchTracker {
    /// Counts a watch that starts to execute; `None` if the request is none, or one that changes
    /// seldom notify: pods of one node, whatever their API group.
    #[must_use]
    pub fn register(&self, request: &RequestInfo) -> Option<WatchGuard> {
        if request.verb != Verb::Watch || request.resource == "pods" && selects_one_node(&request.query) {
            return None;
        }
        let key = Key::of(request, &request.namespace, &request.name);
        *self.counts.write().entry(key.clone()).or_default() += 1;
        Some(WatchGuard { tracker: self.clone(), key })
    }

    /// How many watches a request notifies; 0 if it changes nothing.
    #[must_use]
    pub fn interested(&self, request: &RequestInfo) -> u64 {
        if matches!(request.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Proxy) {
            return 0;
        }
        let counts = self.counts.read();
        if counts.is_empty() {
            return 0;
        }
        let count = |namespace: &str, name: &str| {
            counts.get(&Key::of(request, namespace, name)).copied().unwrap_or_default()
        };
        let in_namespace = if request.namespace.is_empty() { 0 } else { count(&request.namespace, "") };
        let by_name = if request.name.is_empty() { 0 } else { count(&request.namespace, &request.name) };
        count("", "") + in_namespace + by_name
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let mut counts = self.tracker.counts.write();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

impl Key {
    fn of(request: &RequestInfo, namespace: &str, name: &str) -> Self {
        Self {
            group: request.api_group.clone(),
            resource: request.resource.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

fn selects_one_node(query: &str) -> bool {
    ListOptions::parse(query)
        .ok()
        .and_then(|options| requires_exact(&options.field_selector, "spec.nodeName"))
        .is_some_and(|node| !node.is_empty())
}
