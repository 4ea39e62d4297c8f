//! Which endpoints have names: ready ones, and others where that is asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::wire::kind;
use seaway_dns::wire::writer::Transport;

/// A headless Service, with its endpoints' conditions for `ENDPOINTS`.
const MANIFESTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: t}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: t}
spec: {clusterIP: None, ports: [{name: sql, port: 5432, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: t, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints: [ENDPOINTS]
";
const READY: &str = "{addresses: [10.1.0.1]}";
const ENDING: &str = "{addresses: [10.1.0.2], conditions: {ready: false, serving: true, terminating: true}}";
const ENDED: &str = "{addresses: [10.1.0.3], conditions: {ready: false, serving: false, terminating: true}}";

/// The response code and the number of answers for `db`.
fn check(options: &str, endpoints: &[&str], expected: (u8, u8)) {
    let text = format!(".:53 {{\n kubernetes cluster.local {{\n {options}\n }}\n}}\n");
    let engine = Engine::new(corefile::parse(&text, Path::new(".")).unwrap());
    let (snapshot, warnings) =
        Snapshot::from_manifests(&MANIFESTS.replace("ENDPOINTS", &endpoints.join(", ")));
    assert_eq!(warnings, []);
    Feed::new(&engine).update(&engine, &Arc::new(snapshot), 1);
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse("db.t.svc.cluster.local.").unwrap());
    message.extend_from_slice(&[0, u8::try_from(kind::A).unwrap(), 0, 1]);
    let mut out = Vec::new();
    let step = engine.step(&message, Context::new(Transport::Udp, 53, Instant::now()), &mut out);
    assert!(matches!(step, Step::Reply(_)));
    assert_eq!((out[3] & 15, out[7]), expected, "{options}, {endpoints:?}");
}

#[test]
fn only_ready_endpoints_have_names() {
    check("ttl 5", &[READY, ENDING, ENDED], (0, 1));
    check("ttl 5", &[ENDING, ENDED], (3, 0));
}

#[test]
fn endpoints_that_end_but_serve_stand_in_where_that_is_asked_for() {
    check("terminating_endpoints", &[READY, ENDING, ENDED], (0, 1));
    check("terminating_endpoints", &[ENDING, ENDED], (0, 1));
    check("terminating_endpoints", &[ENDED], (3, 0));
}
