//! Many Services at once, without the reading of manifests.

use std::net::Ipv4Addr;
use std::sync::Arc;

use seaway_cluster::{
    AddressFamily, Endpoint, EndpointPort, EndpointSlice, Labels, Locality, ObjectName, Protocol, Service,
    ServicePort, ServiceType, SessionAffinity, Snapshot, TargetPort, TrafficPolicy,
};

/// So many Services of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// How many.
    pub services: u32,
    /// Ports of each, from 80 on.
    pub ports: u16,
    /// Endpoints of each, on another node.
    pub endpoints: u32,
}

impl Bulk {
    /// Every Service with all of its endpoints.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for number in 0..self.services {
            let service = self.service(number);
            let slice = self.slice(number, self.endpoints);
            snapshot.slices.entry(service.name.clone()).or_default().insert(Arc::new(slice));
            snapshot.services.insert(service.name.clone(), Arc::new(service));
        }
        snapshot
    }

    /// The same, with the last endpoint of one Service missing.
    #[must_use]
    pub fn one_endpoint_less(&self, facts: &Snapshot, number: u32) -> Snapshot {
        let mut snapshot = facts.clone();
        let slice = self.slice(number, self.endpoints - 1);
        snapshot.slices.entry(slice.service.clone()).or_default().insert(Arc::new(slice));
        snapshot
    }

    fn ports(&self) -> impl Iterator<Item = (u16, Arc<str>)> {
        (0..self.ports).map(|port| (port, Arc::from(format!("port-{port}"))))
    }

    fn service(&self, number: u32) -> Service {
        let port = |(port, name)| ServicePort {
            name,
            protocol: Protocol::Tcp,
            port: 80 + port,
            node_port: 0,
            target: TargetPort::Number(8080 + port),
        };
        Service {
            name: name(number),
            kind: ServiceType::ClusterIp,
            cluster_ips: [Ipv4Addr::from_bits(0x0a60_0000 + number).into()].into(),
            headless: false,
            external_ips: Box::default(),
            load_balancer_ips: Box::default(),
            ingress: Box::default(),
            source_ranges: Box::default(),
            ports: self.ports().map(port).collect(),
            selector: Labels::default(),
            affinity: SessionAffinity::None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            distribution: None,
            health_check_node_port: 0,
            publish_not_ready: false,
            foreign_proxy: false,
            labels: Labels::default(),
            annotations: Labels::default(),
        }
    }

    fn slice(&self, number: u32, endpoints: u32) -> EndpointSlice {
        let locality = Locality { node: Some("node-2".into()), ..Locality::default() }.shared();
        let endpoint = |host: u32| Endpoint {
            address: Ipv4Addr::from_bits(0x0a80_0000 + number * self.endpoints + host).into(),
            ready: true,
            serving: true,
            terminating: false,
            hostname: None,
            pod: None,
            locality: locality.clone(),
        };
        EndpointSlice {
            name: ObjectName::new("default", format!("service-{number}-1")),
            service: name(number),
            family: AddressFamily::Ipv4,
            ports: self
                .ports()
                .map(|(port, name)| EndpointPort { name, protocol: Protocol::Tcp, port: 8080 + port })
                .collect(),
            endpoints: (0..endpoints).map(endpoint).collect(),
            headless: false,
            cluster: None,
        }
    }
}

fn name(number: u32) -> ObjectName {
    ObjectName::new("default", format!("service-{number}"))
}
