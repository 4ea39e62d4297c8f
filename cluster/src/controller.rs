//! The endpoint controllers of a cluster, for objects that no cluster looks after.
//!
//! Where a Service's slices come from, first that applies:
//!
//! 1. Slices given for it, whether or not it has a selector. They are taken as they are, so that
//!    a dump of a cluster, which holds slices and Pods, means what it meant there.
//! 2. With a selector: the Pods that it selects ([`pods`]). An Endpoints object of the same name
//!    is not read, since the cluster's endpoints controller would overwrite it with what the
//!    Pods say; if that is nothing, a warning tells.
//! 3. Without a selector: the Endpoints object of the same name.

mod pods;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    AddressFamily, EndpointSlice, Kind, ObjectId, ObjectName, Service, ServiceName, Slices, Snapshot, Warning,
};

use pods::PodIndex;

/// What the controllers read beside the snapshot itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// Mirrored slices by the name of their Endpoints object.
    pub(crate) endpoints: BTreeMap<ObjectName, Arc<[Arc<EndpointSlice>]>>,
    /// `spec.ipFamilies` by Service.
    pub(crate) families: BTreeMap<ServiceName, Arc<[AddressFamily]>>,
}

/// Adds the slices that the controllers would have made for the snapshot's Services.
pub(crate) fn add_slices(snapshot: &mut Snapshot, inputs: &Inputs) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut made = Vec::new();
    let pods = PodIndex::of(snapshot);
    for (name, service) in &snapshot.services {
        if snapshot.slices.contains_key(name) {
            continue;
        }
        let endpoints = inputs.endpoints.get(name);
        let slices: Vec<_> = if service.selector.is_empty() {
            endpoints.into_iter().flat_map(|slices| slices.iter().cloned()).collect()
        } else {
            let families = inputs.families.get(name).map(Arc::as_ref).unwrap_or_default();
            let slices = pods.slices_of(service, families).into_iter().map(Arc::new).collect::<Vec<_>>();
            if slices.is_empty() && endpoints.is_some_and(|mirrored| !mirrored.is_empty()) {
                warnings.push(overruled(service));
            }
            slices
        };
        if !slices.is_empty() {
            made.push((name.clone(), slices.into_iter().collect::<Slices>()));
        }
    }
    snapshot.slices.extend(made);
    warnings
}

fn overruled(service: &Service) -> Warning {
    let id = ObjectId { kind: Kind::Endpoints, name: service.name.to_string() };
    let problem = "is not read: the Service of this name has a selector, so its endpoints are the Pods it \
                   selects, and there is none; remove the selector or give an EndpointSlice";
    id.warning("", problem)
}
