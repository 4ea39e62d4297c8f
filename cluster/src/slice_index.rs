//! Slices by the Service they belong to, kept right while slices come, change and go.

use std::sync::Arc;

use crate::{EndpointSlice, FactMap, ObjectName, ServiceName, Slices};

/// All slices, grouped by Service.
///
/// A slice is known by its own name: one that moves to another Service leaves the first, and its
/// removal needs nothing but the name. (kube-proxy needs the label again and leaves endpoints
/// behind when the label changes or a delete arrives without it.)
#[derive(Clone, Debug, Default)]
pub struct SliceIndex {
    slices: FactMap<ServiceName, Slices>,
    services: FactMap<ObjectName, ServiceName>,
}

impl SliceIndex {
    /// Adds a slice or replaces the one of the same name.
    pub fn insert(&mut self, slice: Arc<EndpointSlice>) {
        if self.services.get(&slice.name).is_some_and(|service| *service != slice.service) {
            self.remove(&slice.name);
        }
        self.services.insert(slice.name.clone(), slice.service.clone());
        self.slices.entry(slice.service.clone()).or_default().insert(slice);
    }

    /// Removes a slice. False, and nothing changes, for an unknown name.
    pub fn remove(&mut self, name: &ObjectName) -> bool {
        let Some(service) = self.services.remove(name) else { return false };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        true
    }

    /// One slice.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<EndpointSlice>> {
        self.slices.get(self.services.get(name)?)?.get(name)
    }

    /// The names of all slices, in order.
    pub fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.keys()
    }

    /// The slices by Service, then by name, as in a [`Snapshot`](crate::Snapshot).
    pub fn slices(&self) -> &FactMap<ServiceName, Slices> {
        &self.slices
    }

    /// The slices, taken out.
    pub fn into_slices(self) -> FactMap<ServiceName, Slices> {
        self.slices
    }
}
