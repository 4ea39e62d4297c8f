//! Endpoints, the predecessor of EndpointSlice, as the slices that a cluster would mirror them to.

use crate::api;
use crate::api::Metadata;

use super::subject::{Subject, has_label};
use super::{HEADLESS_LABEL, some_name};
use crate::address::parse_ip;
use crate::{AddressFamily, Endpoint, EndpointPort, EndpointSlice, Kind, Locality, ObjectName, Warning};

const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";

/// The slices of an Endpoints object: one for each subset and family. They belong to the Service
/// of the same name, should it have no selector.
///
/// None are made where the cluster's mirroring controller makes none: for objects with the label
/// `endpointslice.kubernetes.io/skip-mirror: "true"` and for leader election records. That
/// controller's limit of 1000 addresses a subset is not copied.
///
/// # Errors
/// The warning for an object that the API server would refuse: it is left out.
pub fn endpoints(
    object: &api::Endpoints,
    notes: &mut Vec<Warning>,
) -> Result<(ObjectName, Vec<EndpointSlice>), Warning> {
    let (subject, name) = Subject::namespaced(Kind::Endpoints, &object.metadata)?;
    let mut slices = Vec::new();
    if is_unmirrored(&object.metadata) {
        return Ok((name, slices));
    }
    for (index, subset) in object.subsets.as_deref().unwrap_or_default().iter().enumerate() {
        let field = format!("subsets[{index}]");
        let ports = ports(&subject, &field, subset.ports.as_deref().unwrap_or_default())?;
        let endpoints = subset_endpoints(&subject, &field, subset, notes);
        for family in [AddressFamily::Ipv4, AddressFamily::Ipv6] {
            let of_family = endpoints.iter().filter(|entry| AddressFamily::of(entry.address) == family);
            let endpoints: Vec<_> = of_family.cloned().collect();
            if !endpoints.is_empty() {
                let slice = format!("{}.mirror.{index}.{}", name.name, family.as_str().to_lowercase());
                slices.push(EndpointSlice {
                    name: ObjectName::new(name.namespace.clone(), slice),
                    service: name.clone(),
                    family,
                    ports: ports.clone().into(),
                    endpoints,
                    headless: has_label(&object.metadata, HEADLESS_LABEL),
                    cluster: None,
                });
            }
        }
    }
    Ok((name, slices))
}

fn is_unmirrored(metadata: &Metadata) -> bool {
    let skipped = metadata.labels.as_ref().and_then(|labels| labels.get(SKIP_MIRROR_LABEL));
    let annotations = metadata.annotations.as_ref();
    skipped.is_some_and(|value| value == "true")
        || annotations.is_some_and(|annotations| annotations.contains_key(LEADER_ANNOTATION))
}

fn ports(subject: &Subject, subset: &str, objects: &[api::SubsetPort]) -> Result<Vec<EndpointPort>, Warning> {
    let mut ports = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let field = format!("{subset}.ports[{index}]");
        ports.push(EndpointPort {
            name: object.name.as_deref().unwrap_or_default().into(),
            protocol: subject.protocol(&format!("{field}.protocol"), object.protocol.as_deref())?,
            port: subject.port(&format!("{field}.port"), object.port)?,
        });
    }
    Ok(ports)
}

fn subset_endpoints(
    subject: &Subject,
    subset: &str,
    object: &api::EndpointSubset,
    notes: &mut Vec<Warning>,
) -> Vec<Endpoint> {
    let lists = [
        ("addresses", object.addresses.as_deref(), true),
        ("notReadyAddresses", object.not_ready_addresses.as_deref(), false),
    ];
    let mut endpoints = Vec::new();
    for (list, addresses, ready) in lists {
        for (index, entry) in addresses.unwrap_or_default().iter().enumerate() {
            let Some(address) = parse_ip(&entry.ip) else {
                let field = format!("{subset}.{list}[{index}].ip");
                let problem = format!("{:?} is not an IP address; the endpoint is left out", entry.ip);
                notes.push(subject.warning(field, problem));
                continue;
            };
            let target = entry.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let node = some_name(entry.node_name.as_ref());
            endpoints.push(Endpoint {
                address,
                ready,
                // The mirror leaves it out, and absent means true.
                serving: true,
                terminating: false,
                hostname: some_name(entry.hostname.as_ref()),
                pod: some_name(target.and_then(|target| target.name.as_ref())),
                locality: Locality { node, ..Locality::default() }.shared(),
            });
        }
    }
    endpoints
}
