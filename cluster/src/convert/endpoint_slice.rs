//! EndpointSlices.

use std::sync::Arc;

use crate::api;

use super::subject::{Subject, has_label};
use super::{HEADLESS_LABEL, IMPORT_NAME_LABEL, SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL, some_name};
use crate::address::parse_ip;
use crate::{
    AddressFamily, Endpoint, EndpointPort, EndpointSlice, Hints, Kind, Locality, ServiceName, Warning,
};

/// The longest id of a cluster: it is one label of a name.
const CLUSTER_MAX: usize = 63;

/// The facts of an EndpointSlice; `None` where it belongs to no Service or holds host names.
///
/// # Errors
/// The warning for a slice that the API server would refuse: it is left out.
pub fn endpoint_slice(
    object: &api::EndpointSlice,
    notes: &mut Vec<Warning>,
) -> Result<Option<EndpointSlice>, Warning> {
    slice(object, SERVICE_NAME_LABEL, notes)
}

/// The facts of an EndpointSlice as part of a ServiceImport; `None` where it belongs to none, or
/// does not say to which cluster. A slice may belong to a Service as well.
///
/// # Errors
/// The warning for a slice that the API server would refuse: it is left out.
pub fn imported_slice(
    object: &api::EndpointSlice,
    notes: &mut Vec<Warning>,
) -> Result<Option<EndpointSlice>, Warning> {
    let label = |label: &str| some_name::<Arc<str>>(object.metadata.labels.as_ref()?.get(label));
    if label(IMPORT_NAME_LABEL).is_none() {
        return Ok(None);
    }
    let (subject, _) = Subject::namespaced(Kind::EndpointSlice, &object.metadata)?;
    let Some(cluster) = label(SOURCE_CLUSTER_LABEL).filter(|id| id.len() <= CLUSTER_MAX && !id.contains('.'))
    else {
        let problem =
            format!("{SOURCE_CLUSTER_LABEL} is missing or no DNS label; {IMPORT_NAME_LABEL} is ignored");
        notes.push(subject.warning("metadata.labels", problem));
        return Ok(None);
    };
    // What else is wrong with a slice of a Service has been noted for that.
    let mut again = Vec::new();
    let notes = if label(SERVICE_NAME_LABEL).is_some() { &mut again } else { notes };
    let slice = slice(object, IMPORT_NAME_LABEL, notes)?;
    Ok(slice.map(|slice| EndpointSlice { cluster: Some(cluster), ..slice }))
}

fn slice(
    object: &api::EndpointSlice,
    service_label: &str,
    notes: &mut Vec<Warning>,
) -> Result<Option<EndpointSlice>, Warning> {
    let (subject, name) = Subject::namespaced(Kind::EndpointSlice, &object.metadata)?;
    let family = match object.address_type.as_str() {
        "IPv4" => AddressFamily::Ipv4,
        "IPv6" => AddressFamily::Ipv6,
        "FQDN" => return Ok(None),
        other => {
            let problem = format!("{other:?} is not an address type (IPv4, IPv6 or FQDN)");
            return Err(subject.warning("addressType", problem));
        }
    };
    let labels = object.metadata.labels.as_ref();
    let Some(service) = some_name(labels.and_then(|labels| labels.get(service_label))) else {
        return Ok(None);
    };
    let ports = ports(&subject, object.ports.as_deref().unwrap_or_default())?;
    let mut endpoints = Vec::with_capacity(object.endpoints.as_ref().map_or(0, Vec::len));
    for (index, entry) in object.endpoints.as_deref().unwrap_or_default().iter().enumerate() {
        match endpoint(entry, family) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(problem) => {
                let field = format!("endpoints[{index}].addresses[0]");
                notes.push(subject.warning(field, format!("{problem}; the endpoint is left out")));
            }
        }
    }
    Ok(Some(EndpointSlice {
        service: ServiceName { namespace: Arc::clone(&name.namespace), name: service },
        name,
        family,
        ports: ports.into(),
        endpoints,
        headless: has_label(&object.metadata, HEADLESS_LABEL),
        cluster: None,
    }))
}

/// Entries without a name or a number are no ports to a proxy (kube-proxy
/// `standardEndpointInfo`).
fn ports(subject: &Subject, objects: &[api::EndpointPort]) -> Result<Vec<EndpointPort>, Warning> {
    let mut ports = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let field = format!("ports[{index}]");
        let port = subject.port_or_none(&format!("{field}.port"), object.port)?;
        let protocol = subject.protocol(&format!("{field}.protocol"), object.protocol.as_deref())?;
        if let (Some(name), 1..) = (&object.name, port) {
            ports.push(EndpointPort { name: name.as_str().into(), protocol, port });
        }
    }
    Ok(ports)
}

fn endpoint(object: &api::Endpoint, family: AddressFamily) -> Result<Endpoint, String> {
    let Some(text) = object.addresses.first() else {
        return Err("there is no address".to_owned());
    };
    let address = parse_ip(text).ok_or_else(|| format!("{text:?} is not an IP address"))?;
    if AddressFamily::of(address) != family {
        return Err(format!("{address} is not an {} address, as addressType says", family.as_str()));
    }
    let conditions = object.conditions.as_ref();
    let target = object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let locality = Locality {
        node: some_name(object.node_name.as_ref()),
        zone: some_name(object.zone.as_ref()),
        hints: object.hints.as_ref().map(hints).unwrap_or_default(),
    };
    Ok(Endpoint {
        address,
        ready: conditions.and_then(|all| all.ready).unwrap_or(true),
        serving: conditions.and_then(|all| all.serving).unwrap_or(true),
        terminating: conditions.and_then(|all| all.terminating).unwrap_or(false),
        hostname: some_name(object.hostname.as_ref()),
        pod: some_name(target.and_then(|target| target.name.as_ref())),
        locality: locality.shared(),
    })
}

fn hints(object: &api::EndpointHints) -> Hints {
    let zones = object.for_zones.iter().flatten().map(|zone| zone.name.as_str().into());
    let nodes = object.for_nodes.iter().flatten().map(|node| node.name.as_str().into());
    Hints { zones: zones.collect(), nodes: nodes.collect() }
}
