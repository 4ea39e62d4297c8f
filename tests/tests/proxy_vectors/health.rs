//! The health servers: of single Services, and of the proxy itself. Time is the case's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use seaway_cluster::{AddressFamily, ServiceName, api, convert};
use seaway_dataplane::health::Answer;
use seaway_dataplane::health::proxy::ProxyHealth;
use seaway_dataplane::health::service::ServiceHealth;
use serde::Deserialize;

use super::{Verdict, family};

#[derive(Deserialize)]
#[serde(tag = "server", rename_all = "lowercase")]
pub(super) enum HealthCase {
    Service(ServiceCase),
    Proxy(ProxyCase),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceCase {
    #[serde(rename = "id")]
    _id: String,
    #[serde(default, rename = "note")]
    _note: String,
    family: String,
    events: Vec<ServiceEvent>,
    requests: Vec<ServiceRequest>,
    listening: BTreeSet<SocketAddr>,
    network: String,
    #[serde(default)]
    late_request_on_closed: Option<Response>,
    responses: Vec<Response>,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum ServiceEvent {
    Services { services: BTreeMap<String, u16> },
    Endpoints { endpoints: BTreeMap<String, usize> },
    ProxyHealthy { healthy: bool },
    Occupy { port: u16 },
    Free { port: u16 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceRequest {
    service: String,
    method: String,
    #[serde(rename = "path")]
    _path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyCase {
    #[serde(rename = "id")]
    _id: String,
    #[serde(default, rename = "note")]
    _note: String,
    timeout_ms: u64,
    node: Option<api::Node>,
    events: Vec<ProxyEvent>,
    at_ms: u64,
    requests: Vec<ProxyRequest>,
    healthy: bool,
    node_eligible: bool,
    responses: Vec<Response>,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum ProxyEvent {
    Updated { t_ms: u64, family: String },
    Queued { t_ms: u64, family: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyRequest {
    method: String,
    path: String,
}

/// What is answered; header names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Response {
    closed: bool,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A port that is listened on until this goes.
struct Listener {
    taken: Rc<RefCell<BTreeSet<SocketAddr>>>,
    address: SocketAddr,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.taken.borrow_mut().remove(&self.address);
    }
}

pub(super) fn check(case: &HealthCase) -> Verdict {
    match case {
        HealthCase::Service(case) => check_service(case),
        HealthCase::Proxy(case) => check_proxy(case),
    }
}

fn check_service(case: &ServiceCase) -> Verdict {
    let (any, network): (IpAddr, _) = match family(&case.family) {
        AddressFamily::Ipv4 => (Ipv4Addr::UNSPECIFIED.into(), "tcp4"),
        AddressFamily::Ipv6 => (Ipv6Addr::UNSPECIFIED.into(), "tcp6"),
    };
    let taken: Rc<RefCell<BTreeSet<SocketAddr>>> = Rc::default();
    let mut servers = ServiceHealth::default();
    let mut healthy = true;
    for event in &case.events {
        match event {
            ServiceEvent::Services { services } => {
                let listen = |_: &ServiceName, address| {
                    if !taken.borrow_mut().insert(address) {
                        return Err(io::Error::from(io::ErrorKind::AddrInUse));
                    }
                    Ok(Listener { taken: Rc::clone(&taken), address })
                };
                servers.serve(&named(services), &BTreeSet::from([any]), listen);
            }
            ServiceEvent::Endpoints { endpoints } => servers.count(&named(endpoints)),
            ServiceEvent::ProxyHealthy { healthy: now } => healthy = *now,
            ServiceEvent::Occupy { port } => _ = taken.borrow_mut().insert((any, *port).into()),
            ServiceEvent::Free { port } => _ = taken.borrow_mut().remove(&(any, *port).into()),
        }
    }
    let answer = |service: &ServiceName, method: &str| Response::of(servers.answer(service, healthy), method);
    let mut late = None;
    let responses = case.requests.iter().map(|request| {
        let service = service_name(&request.service);
        let answered = answer(&service, &request.method);
        if servers.serves(&service) {
            return answered;
        }
        late = case.late_request_on_closed.as_ref().map(|_| answered);
        Response { closed: true, ..Response::default() }
    });
    let found = (responses.collect::<Vec<_>>(), servers.listening(), network.to_owned());
    let expected = (lowered(&case.responses), case.listening.clone(), case.network.clone());
    let expected_late = case.late_request_on_closed.as_ref().map(Response::lowered);
    Verdict::of(&(expected, expected_late), &(found, late))
}

fn check_proxy(case: &ProxyCase) -> Verdict {
    let zero: SystemTime = "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("the start").into();
    let at = |ms: &u64| zero + Duration::from_millis(*ms);
    let mut health = ProxyHealth::new(Duration::from_millis(case.timeout_ms));
    let node = case.node.clone().map(|mut node| {
        node.metadata.name.get_or_insert_with(|| "n1".to_owned());
        convert::node(&node, &mut Vec::new()).unwrap_or_else(|warning| panic!("{warning}"))
    });
    health.note_node(node.as_ref());
    for event in &case.events {
        match event {
            ProxyEvent::Updated { t_ms, family: name } => health.updated(family(name), at(t_ms)),
            ProxyEvent::Queued { t_ms, family: name } => health.queued(family(name), at(t_ms)),
        }
    }
    let now = at(&case.at_ms);
    let answers = case
        .requests
        .iter()
        .map(|request| Response::of(health.answer(&request.method, &request.path, now), &request.method));
    let found = (answers.collect::<Vec<_>>(), health.healthy(now), health.node_eligible());
    Verdict::of(&(lowered(&case.responses), case.healthy, case.node_eligible), &found)
}

impl Response {
    fn of(answer: Answer, method: &str) -> Self {
        let Answer { status, headers, body } = answer.sent(method);
        let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Self { closed: false, status, headers, body }
    }

    fn lowered(&self) -> Self {
        let headers = self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
        Self { headers: headers.collect(), ..self.clone() }
    }
}

fn lowered(responses: &[Response]) -> Vec<Response> {
    responses.iter().map(Response::lowered).collect()
}

fn named<V: Copy>(map: &BTreeMap<String, V>) -> BTreeMap<ServiceName, V> {
    map.iter().map(|(name, value)| (service_name(name), *value)).collect()
}

fn service_name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').unwrap_or_else(|| panic!("{text} has no namespace"));
    ServiceName::new(namespace, name)
}
