//! Slices by the Service they belong to, kept right while slices come, change and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{EndpointSlice, ObjectName, ServiceName};

/// All slices, grouped by Service.
///
/// A slice is known by its own name: one that moves to another Service leaves the first, and its
/// removal needs nothing but the name. (kube-proxy needs the label again and leaves endpoints
/// behind when the label changes or a delete arrives without it.)
#[derive(Clone, Debug, Default)]
pub struct SliceIndex {
    slices: BTreeMap<ServiceName, BTreeMap<ObjectName, Arc<EndpointSlice>>>,
    services: BTreeMap<ObjectName, ServiceName>,
}

impl SliceIndex {
    /// Adds a slice or replaces the one of the same name.
    pub fn insert(&mut self, slice: Arc<EndpointSlice>) {
        if self.services.get(&slice.name).is_some_and(|service| *service != slice.service) {
            self.remove(&slice.name);
        }
        self.services.insert(slice.name.clone(), slice.service.clone());
        self.slices.entry(slice.service.clone()).or_default().insert(slice.name.clone(), slice);
    }

    /// Removes a slice; an unknown name changes nothing.
    pub fn remove(&mut self, name: &ObjectName) {
        let Some(service) = self.services.remove(name) else { return };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
    }

    /// The slices by Service, then by name, as in a [`Snapshot`](crate::Snapshot).
    pub fn slices(&self) -> &BTreeMap<ServiceName, BTreeMap<ObjectName, Arc<EndpointSlice>>> {
        &self.slices
    }

    /// The slices, taken out.
    pub fn into_slices(self) -> BTreeMap<ServiceName, BTreeMap<ObjectName, Arc<EndpointSlice>>> {
        self.slices
    }
}
