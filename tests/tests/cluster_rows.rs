//! Rows 26, 34 and 35 of the feature table: an agent that follows an API server.

#![forbid(unsafe_code)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use seaway_common::{ServiceKey, ServiceValue};
use seaway_dataplane::Maps;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::pins;
use seaway_harness::{Agent, ApiFault, ApiServer, Contents, privileged, wait_for};
use seaway_lab::AgentStatus;
use seaway_lab::load::{Load, Plan};
use seaway_lab::probe::{Outcome, Probe, Transport};
use seaway_tests::api_objects::node;
use seaway_tests::network::{ECHO_TCP, HTTP, METRICS, Network, Path, ask, http_of, pods, question, vip};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const HEALTH: u16 = 10256;
const OUTAGE: Duration = Duration::from_secs(30);
/// What an agent without a DNS server follows.
const KINDS: [&str; 5] = ["Service", "EndpointSlice", "Node", "Pod", "ServiceCIDR"];
/// What an agent tells: kube-proxy's names, and its own.
const NAMES: [&str; 26] = [
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "kubeproxy_sync_full_proxy_rules_duration_seconds",
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "kubeproxy_network_programming_duration_seconds",
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
    "kubeproxy_sync_proxy_rules_endpoint_changes_total",
    "kubeproxy_sync_proxy_rules_service_changes_pending",
    "kubeproxy_sync_proxy_rules_service_changes_total",
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
    "kubeproxy_proxy_healthz_total",
    "kubeproxy_proxy_livez_total",
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "seaway_backend_packets_total",
    "seaway_ct_entries",
    "seaway_ct_evictions_total",
    "seaway_drops_total",
    "seaway_facts_age_seconds",
    "seaway_maglev_rebuild_seconds",
    "seaway_map_bytes",
    "seaway_nat_alloc_retries",
    "seaway_propagation_seconds",
    "seaway_warnings",
    "seaway_watches_lost_total",
];
/// Requests that have to be answered in each phase before the next begins.
const REQUESTS: u64 = 200;
/// Connections that stay open over everything that happens to the agent.
const CONNECTIONS: usize = 1000;

/// The Service `echo` as the API server has it; `echo` is the only name of its ports that is read.
fn service(cluster_ip: &str) -> Value {
    let port = |name: &str, number: u16| json!({"name": name, "port": number, "targetPort": name});
    json!({
        "kind": "Service", "metadata": {"namespace": "default", "name": format!("at-{}", cluster_ip.replace('.', "-"))},
        "spec": {
            "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ipFamilies": ["IPv4"],
            "ports": [port("echo", ECHO_TCP), port("http", HTTP)],
        },
    })
}

/// Its slice, with the pods of these numbers. Named ports are numbers there.
fn slice(cluster_ip: &str, endpoints: &[usize]) -> Value {
    let name = format!("at-{}", cluster_ip.replace('.', "-"));
    let endpoint = |number: &usize| json!({"addresses": [http_of(*number).ip().to_string()]});
    let port = |name: &str, number: u16| json!({"name": name, "port": 8000 + number});
    json!({
        "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": format!("{name}-x"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [port("echo", ECHO_TCP), port("http", HTTP)],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// A network whose agents follow an API server, which has the Service on the usual address.
fn network(endpoints: &[usize]) -> (Network, ApiServer) {
    let mut network = Network::new(&[]);
    network.setup = network.setup.arguments(["--node-name", "node-1"]);
    let server = network.api_server();
    let usual = vip(0, ECHO_TCP).ip().to_string();
    server.put_all([service(&usual), slice(&usual, endpoints), node("node-1", "a")]);
    (network, server)
}

fn usual() -> String {
    vip(0, ECHO_TCP).ip().to_string()
}

fn start_loads(network: &Network, marks: usize) -> [Load; 2] {
    let plan = Plan { marks, rate_per_s: Some(400), timeout_ms: 30_000, ..Plan::new(vip(0, HTTP), REQUESTS) };
    Path::ALL.map(|path| network.load(path, &plan))
}

fn wait_for_requests(loads: &mut [Load; 2], phase: usize) {
    for load in loads {
        wait_for("200 requests", PATIENCE, || {
            load.progress().unwrap().phases.get(phase).is_some_and(|tally| tally.requests >= REQUESTS)
        });
    }
}

fn finish(loads: [Load; 2]) {
    for load in loads {
        let phases = load.wait(PATIENCE).unwrap().phases;
        assert!(phases.iter().all(|tally| tally.failed == 0 && tally.requests >= REQUESTS), "{phases:#?}");
    }
}

#[test]
fn row_26_a_thousand_connections_outlive_kill_and_restart() {
    privileged!();
    let (network, server) = network(&[0, 1, 2]);
    let agent = network.start();
    let mut loads = start_loads(&network, 2);
    let mut probers = Path::ALL.map(|path| network.prober(path));
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let probe = Probe { flow: Some(number.to_string()), ..question(Transport::Tcp, vip(0, ECHO_TCP)) };
        let (name, _) = ask(&mut probers[number % 2], &probe);
        open.push((number % 2, probe, name));
    }
    let mut check = || {
        let lost = open.iter().filter(|(path, probe, name)| {
            !matches!(probers[*path].ask(probe).unwrap(), Outcome::Answered { answer, .. } if answer.name == *name)
        });
        assert_eq!(lost.count(), 0, "of {CONNECTIONS} connections");
    };
    wait_for_requests(&mut loads, 0);
    agent.kill();
    check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    wait_for_requests(&mut loads, 1);
    let mut agent = network.start();
    check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    finish(loads);
    // What changes now changes for new connections alone.
    let before = agent.status().revision;
    server.put(slice(&usual(), &[1]));
    agent.wait("the change", |status| status.revision > before);
    check();
}

#[test]
fn row_26_an_outage_of_the_api_server_changes_nothing_for_traffic() {
    privileged!();
    let (network, server) = network(&[0, 1, 2]);
    let mut agent = network.start();
    let mut loads = start_loads(&network, 1);
    wait_for_requests(&mut loads, 0);
    server.set_down(true);
    agent.wait("a warning", |status| status.warnings.iter().any(|told| told.contains("cannot follow")));
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    // An agent that starts meanwhile leaves everything as it is, since it knows nothing.
    agent.kill();
    let waiting = network.setup.start_unready(network.topology.node.namespace());
    finish(loads);
    server.put(slice(&usual(), &[2]));
    server.set_down(false);
    let mut agent = waiting;
    agent.wait("readiness", |status| status.ready);
    let mut prober = network.prober(Path::Xdp);
    assert_eq!(ask(&mut prober, &question(Transport::Tcp, vip(0, ECHO_TCP))).0, pods()[2]);
}

/// The maps of an agent: what they lead to, and the ids in them.
fn kernel_state(network: &Network) -> (Contents, Vec<(ServiceKey, ServiceValue)>) {
    let maps = KernelMaps::open(&pins::maps(network.setup.pin_dir())).unwrap();
    (Contents::read(&maps).unwrap(), maps.frontends().unwrap())
}

/// Half a minute: by its end, attempts are as far apart as they ever get.
#[test]
fn row_26_half_a_minute_without_the_api_server_is_told_once_and_changes_nothing() {
    privileged!();
    let (network, server) = network(&[0, 1, 2]);
    let mut agent = network.start();
    let mut loads = start_loads(&network, 2);
    wait_for_requests(&mut loads, 0);
    let before = kernel_state(&network);
    server.set_down(true);
    let begun = Instant::now();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    server.put(slice(&usual(), &[2]));
    let told =
        |status: &AgentStatus| status.warnings.iter().filter(|told| told.contains("cannot follow")).count();
    agent.wait("a warning a kind", |status| told(status) == KINDS.len());
    while begun.elapsed() < OUTAGE {
        let status = agent.status();
        assert!(status.ready && told(&status) == KINDS.len(), "{status:?}");
        assert_eq!(kernel_state(&network), before, "after {:?}", begun.elapsed());
        thread::sleep(Duration::from_secs(1));
    }
    for kind in KINDS {
        let age = network.metric(&format!("seaway_facts_age_seconds{{kind=\"{kind}\"}}"));
        assert!(age.is_some_and(|age| age >= OUTAGE.as_secs_f64() - 1.0), "{kind}: {age:?}");
        let lines =
            agent.log().lines().filter(|line| line.contains(&format!("cannot follow {kind} "))).count();
        assert_eq!(lines, 1, "{kind}:\n{}", agent.log());
    }
    assert!(!agent.log().contains("ERROR"), "{}", agent.log());
    wait_for_requests(&mut loads, 1);
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    server.set_down(false);
    finish(loads);
    // What changed meanwhile comes with the end of the outage, and the warnings go.
    agent.wait("no warning", |status| status.warnings.is_empty());
    check_answer(&network, &mut agent, &usual(), 2);
    assert!(kernel_state(&network) != before);
}

/// A connect to this address by the agent's node is answered by this pod.
fn check_answer(network: &Network, agent: &mut Agent, address: &str, pod: usize) {
    let mut prober = network.prober(Path::Socket);
    let to = question(Transport::Tcp, (address.parse::<std::net::IpAddr>().unwrap(), ECHO_TCP).into());
    let name = &pods()[pod];
    wait_for(
        "the answer",
        PATIENCE,
        || matches!(prober.ask(&to).unwrap(), Outcome::Answered { answer, .. } if answer.name == *name),
    );
    assert!(agent.status().warnings.is_empty());
}

#[test]
fn row_34_services_of_a_range_that_was_added_and_named_ports_work() {
    privileged!();
    let (network, server) = network(&[0]);
    let mut agent = network.start();
    check_answer(&network, &mut agent, &usual(), 0);
    // A ServiceCIDR that was added later has addresses that nobody told the agent of.
    for (address, pod) in [("10.97.3.7", 1), ("172.30.0.9", 2)] {
        server.put_all([service(address), slice(address, &[pod])]);
        check_answer(&network, &mut agent, address, pod);
    }
    // What the name stands for differs between slices, and changes.
    server.put(slice(&usual(), &[2]));
    check_answer(&network, &mut agent, &usual(), 2);
}

/// What becomes of a TCP connect from outside of the node.
#[track_caller]
fn check_connect(network: &Network, address: &str, port: u16, expected: &Outcome) {
    let mut prober = network.prober(Path::Xdp);
    let to = (address.parse::<std::net::IpAddr>().unwrap(), port).into();
    let probe = Probe { timeout_ms: 500, ..Probe::new(Transport::Tcp, to) };
    let mut found = None;
    wait_for(&format!("{expected:?} of {to}"), PATIENCE, || {
        found = Some(prober.ask(&probe).unwrap());
        found.as_ref() == Some(expected)
    });
}

#[test]
fn row_34_ranges_of_services_are_those_of_the_service_cidrs() {
    privileged!();
    let (network, server) = network(&[0]);
    let range = |name: &str, range: &str| json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": [range]}});
    server.put(range("kubernetes", "10.96.0.0/16"));
    let _agent = network.start();
    // No Service has it: dropped. One has it, on other ports: refused.
    check_connect(&network, "10.96.7.7", ECHO_TCP, &Outcome::Timeout);
    check_connect(&network, &usual(), 4444, &Outcome::Refused);
    // Not in a range that is known of: the node has no way there, and says so.
    check_connect(&network, "172.30.0.9", ECHO_TCP, &Outcome::Unreachable);
    server.put(range("more", "172.30.0.0/16"));
    check_connect(&network, "172.30.0.9", ECHO_TCP, &Outcome::Timeout);
    server.delete("ServiceCIDR", "more");
    check_connect(&network, "172.30.0.9", ECHO_TCP, &Outcome::Unreachable);
}

#[test]
fn row_35_health_and_metrics_are_told_as_kube_proxy_does() {
    privileged!();
    let (network, server) = network(&[0]);
    server.fail_next("pods", ApiFault::Status(503));
    server.set_down(true);
    let mut agent = network.setup.start_unready(network.topology.node.namespace());
    let status = |path: &str| network.get(HEALTH, path).map(|(status, _)| status);
    // Alive, but not ready before the first sync, as its status says too.
    wait_for("the server", PATIENCE, || status("/livez") == Some(200));
    agent.wait("a status", |status| !status.ready);
    assert_eq!(status("/healthz"), Some(503));
    server.set_down(false);
    agent.wait("readiness", |status| status.ready);
    let (code, body) = network.get(HEALTH, "/healthz").unwrap();
    assert!(
        code == 200 && body.contains(r#""nodeEligible":true,"healthy":true,"status":{"IPv4":{"#),
        "{body}"
    );
    assert_eq!(network.get(METRICS, "/proxyMode"), Some((200, "seaway".into())));
    // A node that is about to go takes no more traffic, but is as alive as ever.
    let mut going = node("node-1", "a");
    going["spec"]["taints"] = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
    server.put(going);
    wait_for("the taint", PATIENCE, || status("/healthz") == Some(503));
    assert_eq!(status("/livez"), Some(200));
    server.put(slice(&usual(), &[1]));
    check_answer(&network, &mut agent, &usual(), 1);
    // A flow through the programs, of two entries.
    ask(&mut network.prober(Path::Xdp), &question(Transport::Tcp, vip(0, ECHO_TCP)));
    let (code, text) = network.get(METRICS, "/metrics").unwrap();
    assert_eq!(code, 200);
    for line in [
        "kubeproxy_sync_proxy_rules_endpoint_changes_total 2",
        "kubeproxy_sync_proxy_rules_service_changes_total 1",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
        "seaway_drops_total{reason=\"truncated\"} 0",
        "seaway_ct_entries{map=\"FLOWS_V4\"} 2",
        "seaway_nat_alloc_retries{retries=\"0\"} 1",
        "seaway_maglev_rebuild_seconds_count 0",
        "kubeproxy_conntrack_reconciler_deleted_entries_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    let bytes = text.lines().find_map(|line| line.strip_prefix("seaway_map_bytes{map=\"SERVICES\"} "));
    assert!(bytes.and_then(|bytes| bytes.parse().ok()).is_some_and(|bytes: u64| bytes > 1 << 20), "{text}");
    // The wait for the taint asked as often as it took.
    let healthy =
        text.lines().find_map(|line| line.strip_prefix("kubeproxy_proxy_healthz_total{code=\"200\"} "));
    assert!(healthy.and_then(|count| count.parse().ok()).is_some_and(|count: u32| count >= 1), "{text}");
    for name in NAMES {
        assert!(tells(&text, name), "no {name} in\n{text}");
    }
    check_monitoring(&text);
}

/// Whether a text of metrics has a sample of this name.
fn tells(text: &str, name: &str) -> bool {
    let mut rest = text.lines().filter_map(|line| line.strip_prefix(name));
    rest.any(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{"))
}

/// Dashboard and alerts ask for what an agent tells, and for nothing else.
fn check_monitoring(text: &str) {
    let mut named = 0;
    for file in ["alerts.yaml", "dashboard.json"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring");
        let asks = fs::read_to_string(std::path::Path::new(path).join(file)).unwrap();
        let words = asks.split(|next: char| !next.is_ascii_alphanumeric() && next != '_');
        for name in words.filter(|word| word.starts_with("kubeproxy_") || word.starts_with("seaway_")) {
            assert!(tells(text, name), "{file} asks for {name}, which is not told in\n{text}");
            named += 1;
        }
    }
    assert!(named >= 10, "{named} names");
}
