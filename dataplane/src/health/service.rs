//! The health checks of single Services: whether this node has endpoints of one for a load balancer
//! in front, byte for byte as kube-proxy answers (`pkg/proxy/healthcheck/service_health.go`).
//!
//! Each Service with a `healthCheckNodePort` has a port of its own. What listens is the caller's: it
//! is told which ports to open and to give up, and says which it could open.

use std::collections::BTreeMap;

use seaway_cluster::{AddressFamily, ServiceName, Snapshot};
use serde::Serialize;

use super::proxy::Answer;

/// For load balancers that spread by the number of endpoints behind each node.
const WEIGHT: &str = "X-Load-Balancing-Endpoint-Weight";

/// The health checks of one address family.
#[derive(Clone, Debug)]
pub struct ServiceHealth {
    open: BTreeMap<ServiceName, Check>,
    proxy_healthy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Check {
    port: u16,
    endpoints: usize,
}

/// Ports to give up, and then ports to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Services whose port is no longer theirs.
    pub close: Vec<ServiceName>,
    /// Services and their ports. One that cannot be opened comes again with the next change.
    pub open: Vec<(ServiceName, u16)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    service: Named<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Named<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl Default for ServiceHealth {
    fn default() -> Self {
        Self { open: BTreeMap::new(), proxy_healthy: true }
    }
}

impl ServiceHealth {
    /// What has to be opened and given up so that every service has its port. Those to give up no
    /// longer answer; those to open answer once they are [`opened`](Self::opened).
    pub fn change_to(&mut self, wanted: &BTreeMap<ServiceName, u16>) -> Change {
        let mut change = Change::default();
        self.open.retain(|service, check| {
            let stays = wanted.get(service) == Some(&check.port);
            if !stays {
                change.close.push(service.clone());
            }
            stays
        });
        let missing = wanted.iter().filter(|(service, _)| !self.open.contains_key(*service));
        change.open = missing.map(|(service, port)| (service.clone(), *port)).collect();
        change
    }

    /// A port listens. It reports no endpoint until [`count`](Self::count) says otherwise.
    pub fn opened(&mut self, service: ServiceName, port: u16) {
        self.open.insert(service, Check { port, endpoints: 0 });
    }

    /// Takes note of how many endpoints a service has on this node; of no interest without a port.
    pub fn count(&mut self, service: &ServiceName, endpoints: usize) {
        if let Some(check) = self.open.get_mut(service) {
            check.endpoints = endpoints;
        }
    }

    /// Takes note of whether the agent itself is healthy.
    pub fn note_proxy(&mut self, healthy: bool) {
        self.proxy_healthy = healthy;
    }

    /// The services whose ports listen.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.open.keys()
    }

    /// The ports that listen.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.open.values().map(|check| check.port)
    }

    /// Answers a request on a service's port, whatever its path and method. A service whose port was
    /// given up while the request was on its way gets an empty answer.
    ///
    /// # Panics
    /// Never: texts and numbers are JSON.
    pub fn answer(&self, service: &ServiceName) -> Answer {
        let Some(Check { endpoints, .. }) = self.open.get(service) else {
            return Answer { status: 200, headers: Vec::new(), body: String::new() };
        };
        let report = Report {
            service: Named { namespace: &service.namespace, name: &service.name },
            local_endpoints: *endpoints,
            service_proxy_healthy: self.proxy_healthy,
        };
        let mut body = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        report
            .serialize(&mut serde_json::Serializer::with_formatter(&mut body, tabs))
            .expect("texts and numbers are JSON");
        Answer {
            status: if *endpoints > 0 && self.proxy_healthy { 200 } else { 503 },
            headers: vec![
                ("Content-Type", "application/json".to_owned()),
                ("X-Content-Type-Options", "nosniff".to_owned()),
                (WEIGHT, endpoints.to_string()),
            ],
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

/// The health check port of a Service in a family, if it has one.
pub fn port(snapshot: &Snapshot, service: &ServiceName, family: AddressFamily) -> Option<u16> {
    let service = snapshot.services.get(service)?;
    service.cluster_ip(family).and(service.health_check_port())
}
