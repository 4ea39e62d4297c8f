//! Slices from the Pods that a Service selects (the cluster's endpointslice controller).
//!
//! Two things differ from the controller. A Pod whose Node object is absent is kept, without a
//! zone: manifests seldom hold Nodes. And a slice has no limit of 100 endpoints, which only
//! spreads writes to the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{
    AddressFamily, Endpoint, EndpointPort, EndpointSlice, FactMap, Hints, Locality, Node, ObjectName, Pod,
    Service, ServicePort, Snapshot, TargetPort, Text, TrafficDistribution,
};

/// The Pods that can be endpoints, by namespace, and the Nodes they run on.
pub(super) struct PodIndex<'a> {
    by_namespace: BTreeMap<&'a str, Vec<&'a Pod>>,
    nodes: &'a FactMap<Arc<str>, Arc<Node>>,
}

impl<'a> PodIndex<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in snapshot.pods.values().filter(|pod| !pod.finished && !pod.addresses.is_empty()) {
            by_namespace.entry(&pod.name.namespace).or_default().push(pod);
        }
        Self { by_namespace, nodes: &snapshot.nodes }
    }

    /// One slice for each family and distinct set of resolved ports, in order of their names.
    /// `declared` is `spec.ipFamilies`.
    pub(super) fn slices_of(&self, service: &Service, declared: &[AddressFamily]) -> Vec<EndpointSlice> {
        let mut slices: BTreeMap<ObjectName, EndpointSlice> = BTreeMap::new();
        let families = families(service, declared);
        let pods = self.by_namespace.get(service.name.namespace.as_ref()).into_iter().flatten();
        for pod in pods.filter(|pod| selects(service, pod)) {
            let resolved: Vec<Option<u16>> = service.ports.iter().map(|port| resolve(port, pod)).collect();
            for family in &families {
                let Some(endpoint) = self.endpoint(service, pod, *family) else { continue };
                let name = slice_name(service, *family, &resolved);
                let slice = slices.entry(name.clone()).or_insert_with(|| EndpointSlice {
                    name,
                    service: service.name.clone(),
                    family: *family,
                    ports: endpoint_ports(service, &resolved),
                    endpoints: Vec::new(),
                    headless: service.cluster_ips.is_empty(),
                    cluster: None,
                });
                slice.endpoints.push(endpoint);
            }
        }
        slices.into_values().collect()
    }

    fn endpoint(&self, service: &Service, pod: &Pod, family: AddressFamily) -> Option<Endpoint> {
        let address = *pod.addresses.iter().find(|address| AddressFamily::of(**address) == family)?;
        let node = pod.node.as_ref().and_then(|name| self.nodes.get(name));
        let zone = node.and_then(|node| node.zone.clone());
        let named_by_service = pod.subdomain.as_ref() == Some(&service.name.name);
        let ready = service.publish_not_ready || (pod.ready && !pod.deleting);
        let locality = Locality {
            node: pod.node.as_ref().map(Text::from),
            hints: hints(service, pod, zone.as_ref()).filter(|_| ready).unwrap_or_default(),
            zone: zone.as_ref().map(Text::from),
        };
        Some(Endpoint {
            address,
            ready,
            serving: pod.ready,
            terminating: pod.deleting,
            hostname: pod.hostname.as_ref().filter(|_| named_by_service).map(Text::from),
            pod: Some(Text::from(&pod.name.name)),
            locality: locality.shared(),
        })
    }
}

/// `ipFamilies`, else those of the cluster IPs, else (a headless Service) both, of which a Pod
/// takes part in those it has an address of.
fn families(service: &Service, declared: &[AddressFamily]) -> BTreeSet<AddressFamily> {
    let of_addresses = service.cluster_ips.iter().copied().map(AddressFamily::of);
    if !declared.is_empty() {
        declared.iter().copied().collect()
    } else if service.cluster_ips.is_empty() {
        BTreeSet::from([AddressFamily::Ipv4, AddressFamily::Ipv6])
    } else {
        of_addresses.collect()
    }
}

/// Each ready endpoint is for its own zone, and with `PreferSameNode` for its own node as well
/// (KEP-3015). What topology mode `Auto` would spread in proportion to the zones' processors is
/// left in its zone too: manifests do not tell how many a zone has.
fn hints(service: &Service, pod: &Pod, zone: Option<&Arc<str>>) -> Option<Hints> {
    let node =
        pod.node.as_ref().filter(|_| service.distribution == Some(TrafficDistribution::PreferSameNode));
    service.distribution.map(|_| Hints {
        zones: zone.into_iter().map(Text::from).collect(),
        nodes: node.into_iter().map(Text::from).collect(),
    })
}

fn selects(service: &Service, pod: &Pod) -> bool {
    service.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// The number of a Service's port in this Pod; `None` where no container has a port of that name
/// and protocol.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let matches =
                |candidate: &&crate::PodPort| candidate.name == *name && candidate.protocol == port.protocol;
            pod.ports.iter().find(matches).map(|candidate| candidate.container_port)
        }
    }
}

fn endpoint_ports(service: &Service, resolved: &[Option<u16>]) -> Box<[EndpointPort]> {
    let pairs = service.ports.iter().zip(resolved);
    pairs
        .filter_map(|(port, number)| {
            let name = Arc::clone(&port.name);
            number.map(|number| EndpointPort { name, protocol: port.protocol, port: number })
        })
        .collect()
}

/// `web.pods.ipv4.8080.9090`, with `-` for a port that the Pods do not have: the same Pods give
/// the same names at every start.
fn slice_name(service: &Service, family: AddressFamily, resolved: &[Option<u16>]) -> ObjectName {
    let mut name = format!("{}.pods.{}", service.name.name, family.as_str().to_lowercase());
    for number in resolved {
        name.push('.');
        name.push_str(&number.map_or("-".to_owned(), |number| number.to_string()));
    }
    ObjectName::new(Arc::clone(&service.name.namespace), name)
}
