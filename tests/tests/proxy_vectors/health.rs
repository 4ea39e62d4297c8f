//! The health servers: that of single Services, and that of the agent itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use seaway_cluster::{AddressFamily, ServiceName, api, convert};
use seaway_dataplane::health::proxy::{Answer, ProxyHealth};
use seaway_dataplane::health::service::ServiceHealth;
use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, family};

/// Clock zero of the agent's own cases: 2026-01-01T00:00:00Z.
const ZERO_S: u64 = 1_767_225_600;

#[derive(Deserialize)]
#[serde(tag = "server", rename_all = "lowercase", deny_unknown_fields)]
enum Case {
    Service {
        id: String,
        family: String,
        events: Vec<ServiceEvent>,
        requests: Vec<ServiceRequest>,
        listening: BTreeSet<String>,
        network: String,
        responses: Vec<Response>,
        #[serde(default)]
        late_request_on_closed: Option<Response>,
        #[serde(default, rename = "note")]
        _note: String,
    },
    Proxy {
        id: String,
        timeout_ms: u64,
        node: Option<Value>,
        events: Vec<ProxyEvent>,
        at_ms: u64,
        requests: Vec<ProxyRequest>,
        healthy: bool,
        node_eligible: bool,
        responses: Vec<Response>,
        #[serde(default, rename = "note")]
        _note: String,
    },
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
    /// Every path is answered alike.
    #[serde(rename = "path")]
    _path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyEvent {
    t_ms: u64,
    op: ProxyOp,
    family: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProxyOp {
    Updated,
    Queued,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyRequest {
    method: String,
    path: String,
}

/// An answer, with header names in small letters; or nothing that listens.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

impl Response {
    const CLOSED: Self = Self { closed: true, status: 0, headers: BTreeMap::new(), body: String::new() };

    /// What a client gets for a method.
    fn of(answer: Answer, method: &str) -> Self {
        let Answer { status, headers, body } = answer;
        let length = ("content-length".to_owned(), body.len().to_string());
        let headers = headers.into_iter().map(|(name, value)| (name.to_lowercase(), value));
        let body = if method == "HEAD" { String::new() } else { body };
        Self { closed: false, status, headers: headers.chain([length]).collect(), body }
    }

    fn lowercase(self) -> Self {
        let headers = self.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value));
        Self { headers: headers.collect(), ..self }
    }
}

pub(super) fn replay(cases: Vec<Value>) -> Vec<Outcome> {
    let run = |case: Value| match serde_json::from_value(case).expect("a case of a known form") {
        Case::Service {
            id,
            family,
            events,
            requests,
            listening,
            network,
            responses,
            late_request_on_closed: late,
            ..
        } => {
            let problem = service(&family, &events, &requests, (listening, network), responses, late);
            Outcome { id, problem }
        }
        Case::Proxy {
            id,
            timeout_ms,
            node,
            events,
            at_ms,
            requests,
            healthy,
            node_eligible,
            responses,
            ..
        } => {
            let mut health = ProxyHealth::new(Duration::from_millis(timeout_ms));
            let node = node.map(node_of);
            health.note_node(node.as_ref());
            let problem = proxy(&mut health, &events, at_ms, &requests, (healthy, node_eligible), responses);
            Outcome { id, problem }
        }
    };
    cases.into_iter().map(run).collect()
}

fn service(
    family: &str,
    events: &[ServiceEvent],
    requests: &[ServiceRequest],
    (listening, network): (BTreeSet<String>, String),
    responses: Vec<Response>,
    late: Option<Response>,
) -> Option<String> {
    let (mut health, mut taken) = (ServiceHealth::default(), BTreeSet::new());
    for event in events {
        match event {
            ServiceEvent::Services { services } => {
                let wanted = services.iter().map(|(service, port)| (name(service), *port)).collect();
                let change = health.change_to(&wanted);
                let free = change.open.into_iter().filter(|(_, port)| !taken.contains(port));
                free.for_each(|(service, port)| health.opened(service, port));
            }
            ServiceEvent::Endpoints { endpoints } => {
                let services: Vec<ServiceName> = health.services().cloned().collect();
                for service in services {
                    let count = endpoints.get(&service.to_string()).copied().unwrap_or(0);
                    health.count(&service, count);
                }
            }
            ServiceEvent::ProxyHealthy { healthy } => health.note_proxy(*healthy),
            ServiceEvent::Occupy { port } => _ = taken.insert(*port),
            ServiceEvent::Free { port } => _ = taken.remove(port),
        }
    }
    let family = super::family(family);
    let (everywhere, expected_network): (IpAddr, _) = match family {
        AddressFamily::Ipv4 => ([0; 4].into(), "tcp4"),
        AddressFamily::Ipv6 => ([0u16; 8].into(), "tcp6"),
    };
    let found = health.ports().map(|port| std::net::SocketAddr::new(everywhere, port).to_string());
    let found: BTreeSet<String> = found.collect();
    if found != listening || network != expected_network {
        return Some(format!("listens on {found:?}, expected {listening:?} ({network})"));
    }
    let answers = requests.iter().map(|request| {
        let service = name(&request.service);
        match health.services().any(|open| *open == service) {
            true => Response::of(health.answer(&service), &request.method),
            false => Response::CLOSED,
        }
    });
    let problem = differing(&answers.collect::<Vec<_>>(), responses);
    let gone = requests.first().map(|request| Response::of(health.answer(&name(&request.service)), "GET"));
    problem.or_else(|| late.and_then(|late| differing(gone.as_slice(), vec![late])))
}

fn proxy(
    health: &mut ProxyHealth,
    events: &[ProxyEvent],
    at_ms: u64,
    requests: &[ProxyRequest],
    facts: (bool, bool),
    responses: Vec<Response>,
) -> Option<String> {
    for event in events {
        let (family, at) = (family(&event.family), at(event.t_ms));
        match event.op {
            ProxyOp::Updated => health.updated(family, at),
            ProxyOp::Queued => health.queued(family, at),
        }
    }
    let now = at(at_ms);
    let found = (health.healthy(now), health.node_eligible());
    if found != facts {
        return Some(format!("healthy, eligible: {found:?}, expected {facts:?}"));
    }
    let answers =
        requests.iter().map(|request| Response::of(health.answer(&request.path, now), &request.method));
    differing(&answers.collect::<Vec<_>>(), responses)
}

fn differing(found: &[Response], expected: Vec<Response>) -> Option<String> {
    let expected: Vec<_> = expected.into_iter().map(Response::lowercase).collect();
    (found != expected).then(|| format!("answers {found:#?}, expected {expected:#?}"))
}

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(ZERO_S) + Duration::from_millis(ms)
}

fn name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').expect("a namespace and a name");
    ServiceName::new(namespace, name)
}

/// The cases leave out what is of no interest to them, the name too.
fn node_of(mut value: Value) -> seaway_cluster::Node {
    let metadata = value
        .as_object_mut()
        .expect("an object")
        .entry("metadata")
        .or_insert_with(|| Value::Object(Default::default()));
    metadata.as_object_mut().expect("an object").entry("name").or_insert_with(|| "n1".into());
    let object: api::Node = serde_json::from_value(value).expect("a Node");
    convert::node(&object, &mut Vec::new()).expect("a sound Node")
}
