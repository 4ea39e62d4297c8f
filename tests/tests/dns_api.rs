//! `seaway dns` as it runs in a cluster: the program itself, an API server, and real sockets.

#![forbid(unsafe_code)]

use seaway_harness::{ApiBehaviour, privileged};
use seaway_tests::api_objects::{cluster_ip, service, slice};
use seaway_tests::names::{HEALTH, METRICS, Names, PATIENCE, READY, namespace};
use seaway_tests::query::Over;

const COREFILE: &str = "\
.:53 {
    bind 127.0.0.1
    errors
    health 127.0.0.1:8080 {
        lameduck 10s
    }
    ready 127.0.0.1:8181
    prometheus 127.0.0.1:9153
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        ttl 5
    }
}
";
const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

fn name(number: u32) -> String {
    format!("svc-{number:05}.n.svc.cluster.local")
}

fn start(behaviour: ApiBehaviour) -> Names {
    Names::start(COREFILE, behaviour, |api| {
        api.put_all([namespace("n"), service(0), service(1), slice(0, 2), slice(1, 1)]);
    })
}

#[test]
fn changes_of_objects_are_changes_of_names() {
    privileged!();
    let names = start(ApiBehaviour::default());
    names.until(&name(0), NOERROR, &[&cluster_ip(0)]);
    names.until(&name(7), NXDOMAIN, &[]);
    names.api.put(service(7));
    names.until(&name(7), NOERROR, &[&cluster_ip(7)]);
    let mut moved = service(7);
    moved["spec"]["clusterIP"] = "10.200.0.7".into();
    moved["spec"]["clusterIPs"] = serde_json::json!(["10.200.0.7"]);
    names.api.put(moved);
    names.until(&name(7), NOERROR, &["10.200.0.7"]);
    names.api.delete("Service", "n/svc-00007");
    names.until(&name(7), NXDOMAIN, &[]);
    // A headless Service is its endpoints, as they come and go.
    let mut headless = service(3);
    headless["spec"]["clusterIP"] = "None".into();
    headless["spec"]["clusterIPs"] = serde_json::json!(["None"]);
    names.api.put_all([headless, slice(3, 2)]);
    names.until(&name(3), NOERROR, &["10.128.3.1", "10.128.3.2"]);
    let mut fewer = slice(3, 1);
    let noticed = "endpoints.kubernetes.io/last-change-trigger-time";
    fewer["metadata"]["annotations"] = serde_json::json!({noticed: "2100-01-01T00:00:00Z"});
    names.api.put(fewer);
    names.until(&name(3), NOERROR, &["10.128.3.1"]);
    let programmed = r#"duration_seconds_bucket{le="+Inf",service_kind="headless_with_selector"} 1"#;
    names.until_page((METRICS, "/metrics"), 200, programmed);
    // Three lists or watches that began, at least.
    let asked = r#"coredns_kubernetes_rest_client_requests_total{code="200",method="GET",host="127.0.0.1:"#;
    names.until_page((METRICS, "/metrics"), 200, asked);
    names.until("www.example.org", SERVFAIL, &[]);
}

#[test]
fn an_outage_of_the_api_server_keeps_every_name_and_its_end_brings_the_changes() {
    privileged!();
    for streaming in [true, false] {
        let names = start(ApiBehaviour { streaming, ..ApiBehaviour::default() });
        names.until(&name(0), NOERROR, &[&cluster_ip(0)]);
        names.api.set_down(true);
        names.api.put(service(5));
        names.api.delete("Service", "n/svc-00001");
        // What happened meanwhile is forgotten there: watches are answered with 410 Gone.
        names.api.compact();
        for number in [0, 1] {
            names.until(&name(number), NOERROR, &[&cluster_ip(number)]);
        }
        names.api.set_down(false);
        names.until(&name(5), NOERROR, &[&cluster_ip(5)]);
        names.until(&name(1), NXDOMAIN, &[]);
        names.until(&name(0), NOERROR, &[&cluster_ip(0)]);
    }
}

#[test]
fn names_fail_until_the_cluster_was_read_and_are_never_denied() {
    privileged!();
    let names = Names::start(COREFILE, ApiBehaviour::default(), |api| {
        api.put_all([namespace("n"), service(0)]);
        api.set_down(true);
    });
    names.until_page((READY, "/ready"), 503, "kubernetes");
    names.until_page((HEALTH, "/health"), 200, "OK");
    names.until(&name(0), SERVFAIL, &[]);
    names.until(&name(9), SERVFAIL, &[]);
    names.api.set_down(false);
    names.until_page((READY, "/ready"), 200, "OK");
    names.until(&name(0), NOERROR, &[&cluster_ip(0)]);
    names.until(&name(9), NXDOMAIN, &[]);
}

#[test]
fn a_server_that_is_asked_to_stop_answers_on_while_it_is_unready() {
    privileged!();
    let mut names = start(ApiBehaviour::default());
    names.until_page((READY, "/ready"), 200, "OK");
    names.server().terminate().unwrap();
    names.until_page((READY, "/ready"), 503, "stopping");
    // The lameduck time is under way, and lasts longer than two answers take.
    for over in [Over::Udp, Over::Tcp] {
        let answer = names.ask(over, &name(0), false);
        assert!(
            answer.is_ok_and(|answer| answer.rcode == NOERROR && answer.addresses.len() == 1),
            "{over:?}"
        );
    }
    assert!(names.server().try_wait().unwrap().is_none(), "it has ended before its lameduck time");
    let ended = names.server().wait(PATIENCE).unwrap();
    assert!(ended.success(), "{ended}; the log:\n{}", names.log());
    assert!(names.page(HEALTH, "/health").is_none());
}
