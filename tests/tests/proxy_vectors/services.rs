//! Where Services are exposed.

use seaway_cluster::api;
use seaway_cluster::{AddressFamily, Service, ServicePort, ServiceType, SessionAffinity, convert};
use serde::Deserialize;

use super::{Verdict, family, port_name};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceCase {
    #[serde(rename = "id")]
    _id: String,
    family: String,
    service: api::Service,
    watched: bool,
    api_valid: bool,
    #[serde(default)]
    crashes: bool,
    expected: Option<Vec<Port>>,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    name: String,
    protocol: String,
    affinity: String,
    affinity_seconds: u32,
    cluster_ip: String,
    external_ips: Vec<String>,
    external_local: bool,
    externally_accessible: bool,
    health_check_node_port: u16,
    internal_local: bool,
    lb_vips: Vec<String>,
    node_port: u16,
    port: u16,
    source_ranges: Vec<String>,
    uses_cluster: bool,
    uses_local: bool,
}

pub(super) fn check(case: &ServiceCase) -> Verdict {
    let converted = convert::service(&case.service, &mut Vec::new());
    if let Ok(service) = &converted
        && service.proxied() != case.watched
        // The server lists these; the proxy itself skips them.
        && !matches!(service.kind, ServiceType::ExternalName(_))
    {
        return Verdict::Failed(format!("watched is {}", case.watched));
    }
    let found = converted.map(|service| ports(&service, family(&case.family)));
    let same = match (&found, &case.expected) {
        (Ok(found), Some(expected)) => *found == in_order(expected),
        (Err(_), Some(_)) => !case.api_valid,
        (_, None) => case.crashes,
    };
    if same {
        return Verdict::Passed;
    }
    Verdict::Failed(format!("expected {:#?}, found {found:#?}", case.expected))
}

/// An absent affinity acts as None, and is that here.
fn in_order(expected: &[Port]) -> Vec<Port> {
    let mut ports = expected.to_vec();
    let absent = ports.iter_mut().filter(|port| port.affinity.is_empty());
    absent.for_each(|port| port.affinity = "None".to_owned());
    ports.sort();
    ports
}

fn ports(service: &Service, family: AddressFamily) -> Vec<Port> {
    let Some(cluster_ip) = service.cluster_ip(family) else { return Vec::new() };
    let port = |port: &ServicePort| Port {
        name: port_name(&service.name, &port.name),
        protocol: port.protocol.to_string(),
        affinity: match service.affinity {
            SessionAffinity::None => "None".to_owned(),
            SessionAffinity::ClientIp { .. } => "ClientIP".to_owned(),
        },
        affinity_seconds: match service.affinity {
            SessionAffinity::None => 0,
            SessionAffinity::ClientIp { timeout_s } => timeout_s,
        },
        cluster_ip: cluster_ip.to_string(),
        external_ips: service.external_ips_of(family).map(|ip| ip.to_string()).collect(),
        external_local: service.external_local(),
        externally_accessible: service.externally_accessible(port, family),
        health_check_node_port: service.health_check_port().unwrap_or_default(),
        internal_local: service.internal_local(),
        lb_vips: service.load_balancer_ips_of(family).map(|ip| ip.to_string()).collect(),
        node_port: port.node_port,
        port: port.port,
        source_ranges: service.allowed_sources(family).iter().map(ToString::to_string).collect(),
        uses_cluster: service.uses_cluster(port, family),
        uses_local: service.uses_local(port, family),
    };
    let mut ports: Vec<Port> = service.ports.iter().map(port).collect();
    ports.sort();
    ports
}
