//! A block that knows some manifests, and what it answers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::Message;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::wire::writer::Transport;

/// The headless Service `db` in namespace `t`, with these endpoints.
pub(crate) fn headless(endpoints: &str) -> String {
    HEADLESS.replace("ENDPOINTS", endpoints)
}

const HEADLESS: &str = r"
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

/// What manifests say, without a warning.
pub(crate) fn snapshot(manifests: &str) -> Arc<Snapshot> {
    let (mut snapshot, warnings) = Snapshot::from_manifests(manifests);
    assert_eq!(warnings, []);
    snapshot.imply_namespaces();
    Arc::new(snapshot)
}

/// An engine for one block with these plugins; files that they name are in `dir`.
pub(crate) fn serve_in(dir: &Path, plugins: &str, manifests: &str) -> Engine {
    let text = format!(".:53 {{\n{plugins}\n}}\n");
    let engine = Engine::new(corefile::parse(&text, dir).unwrap());
    Feed::new(&engine).update(&engine, &snapshot(manifests), 1);
    engine
}

/// An engine for one block that serves `cluster.local` with these options.
pub(crate) fn serve(options: &str, manifests: &str) -> Engine {
    serve_in(Path::new("."), &format!("kubernetes cluster.local {{\n{options}\n}}"), manifests)
}

/// A query without RD and EDNS.
pub(crate) fn query(text: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// What is answered to a client, in short; what is asked of others, or `silence`.
pub(crate) fn ask_from(client: &str, engine: &Engine, name: &str, kind: u16) -> String {
    let peer = Some(SocketAddr::new(client.parse().unwrap(), 4000));
    let context = Context { peer, ..Context::new(Transport::Udp, 53, Instant::now()) };
    let mut out = Vec::new();
    match engine.step(&query(name, kind), context, &mut out) {
        Step::Reply(_) => summary(&out),
        Step::Silence => "silence".to_owned(),
        Step::Ask(ask) => format!("{ask:?}").split(['(', ' ']).next().unwrap().to_owned(),
    }
}

/// What is answered, in short.
pub(crate) fn ask(engine: &Engine, name: &str, kind: u16) -> String {
    ask_from("10.1.9.1", engine, name, kind)
}

/// The code and the records of an answer, each as `OWNER TYPE DATA`.
pub(crate) fn summary(answer: &[u8]) -> String {
    let message = Message::from_vec(answer).unwrap();
    let records = message.answers.iter();
    let records = records.map(|record| format!("{} {} {}", record.name, record.record_type(), record.data));
    let code = u16::from(message.metadata.response_code).to_string();
    std::iter::once(code).chain(records).collect::<Vec<_>>().join("; ")
}
