//! What the API server fills in on arrival, for objects that never passed through one.
//!
//! Only the defaults that the [conversion](crate::convert) does not imply are here: the meaning of
//! an absent field that kube-proxy would read differently. What the API server *allocates*
//! (cluster IPs, node ports) nobody can make up, so its absence is named in `notes`.

use crate::api;
use crate::api::Metadata;

use crate::address::parse_ip;
use crate::convert::{NO_CLUSTER_IP, cluster_ip_texts};
use crate::{AddressFamily, Kind, ObjectId, Warning};

/// The label by which every Namespace carries its own name.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Puts an object without a namespace into `default`.
pub(crate) fn namespace_of(metadata: &mut Metadata) {
    let namespace = metadata.namespace.get_or_insert_default();
    if namespace.is_empty() {
        "default".clone_into(namespace);
    }
}

/// Fills in `ipFamilies` from the cluster IPs, and names what only an allocator could fill in.
pub(crate) fn service(object: &mut api::Service, notes: &mut Vec<Warning>) {
    namespace_of(&mut object.metadata);
    let id = id_of(&object.metadata);
    let Some(spec) = object.spec.as_mut().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
        return;
    };
    let texts = cluster_ip_texts(spec);
    if texts.first() == Some(&NO_CLUSTER_IP) {
        return;
    }
    if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
        let families = texts.iter().filter_map(|text| parse_ip(text)).map(AddressFamily::of);
        let families = families.map(|family| family.as_str().to_owned()).collect();
        spec.ip_families = Some(families);
    }
    if cluster_ip_texts(spec).is_empty() {
        let problem = "is absent; nothing allocates one here, so the Service is not reachable";
        notes.push(id.warning("spec.clusterIP", problem));
    }
    if matches!(spec.type_.as_deref(), Some("NodePort")) {
        for (index, port) in spec.ports.as_deref().unwrap_or_default().iter().enumerate() {
            if port.node_port.unwrap_or_default() == 0 {
                let field = format!("spec.ports[{index}].nodePort");
                notes.push(id.warning(field, "is absent; nothing allocates one here, so there is none"));
            }
        }
    }
}

/// Gives nameless ports the empty name, which is the name of a Service's only port.
pub(crate) fn endpoint_slice(object: &mut api::EndpointSlice) {
    namespace_of(&mut object.metadata);
    for port in object.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
    }
}

/// Labels a Namespace with its name.
pub(crate) fn namespace(object: &mut api::Namespace) {
    let name = object.metadata.name.clone().unwrap_or_default();
    let labels = object.metadata.labels.get_or_insert_default();
    labels.entry(NAMESPACE_NAME_LABEL.to_owned()).or_insert(name);
}

fn id_of(metadata: &Metadata) -> ObjectId {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    ObjectId { kind: Kind::Service, name: format!("{namespace}/{name}") }
}
