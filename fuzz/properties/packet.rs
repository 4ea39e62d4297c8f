//! What holds for any octets that come as a query: an answer is theirs, is whole, and fits.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::plugin::log::Exchange;
use seaway_dns::wire::query::Query;
use seaway_dns::wire::writer::Transport;

const COREFILE: &str = "\
.:53 {
kubernetes cluster.local in-addr.arpa ip6.arpa {
pods insecure
zonal
fallthrough in-addr.arpa
}
k8s_external example.net
rewrite name suffix .old.example. .svc.cluster.local. answer auto
template ANY A t.example {
answer \"{{ .Name }} 5 IN A 192.0.2.1\"
}
hosts {
192.0.2.2 h.example
fallthrough
}
whoami
loadbalance
}
.:54 {
kubernetes cluster.local clusterset.local in-addr.arpa {
pods insecure
multicluster clusterset.local
compat all
}
compat all
log . {combined}
}
";
const MANIFESTS: &str = "\
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.80, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: alias}, spec: {type: ExternalName, externalName: web.default.svc.cluster.local}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-1, labels: {kubernetes.io/service-name: db}},
  addressType: IPv4, ports: [{name: sql, port: 5432}],
  endpoints: [{addresses: [10.1.0.1], hostname: db-0, zone: a}, {addresses: [10.1.0.2], zone: b}]}
---
{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {name: db}, spec: {type: Headless}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: db-2, labels: {
  multicluster.kubernetes.io/service-name: db, multicluster.kubernetes.io/source-cluster: east}},
  addressType: IPv4, ports: [{name: sql, port: 5432}], endpoints: [{addresses: [10.2.0.1], hostname: db-0}]}
";
/// Ours, and one that answers as CoreDNS does.
const PORTS: [u16; 2] = [53, 54];
/// Without EDNS, over UDP.
const PLAIN_MAX: usize = 512;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let engine = Engine::new(corefile::parse(COREFILE, Path::new(".")).expect("the Corefile is sound"));
    let (mut snapshot, warnings) = Snapshot::from_manifests(MANIFESTS);
    assert!(warnings.is_empty(), "{warnings:?}");
    snapshot.imply_namespaces();
    Feed::new(&engine).update(&engine, &Arc::new(snapshot), 1);
    engine
});

/// Checks it, over UDP and TCP.
pub(crate) fn check(octets: &[u8]) {
    let ways = [Transport::Udp, Transport::Tcp].map(|transport| PORTS.map(|port| (transport, port)));
    for (transport, port) in ways.into_iter().flatten() {
        let mut out = Vec::new();
        let peer = Some(([127, 0, 0, 1], 5300).into());
        let context = Context { peer, ..Context::new(transport, port, Instant::now()) };
        let Step::Reply(reply) = ENGINE.step(octets, context, &mut out) else { continue };
        assert!(out.len() >= 12 && out[..2] == octets[..2], "an answer to another query");
        assert_eq!(out[2] & 0x80, 0x80, "an answer says that it is one");
        assert!(out.len() <= 65_535);
        let answer = Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {out:02x?}"));
        if transport == Transport::Udp && answer.edns.is_none() {
            assert!(out.len() <= PLAIN_MAX, "{} octets", out.len());
        }
        let log = reply.chain.and_then(|number| ENGINE.chains()[number].block.log.first());
        if let (Some(log), Ok(query)) = (log, Query::read(octets)) {
            let (request, took) = (octets.len(), Duration::ZERO);
            let rcode = reply.rcode;
            let exchange = Exchange {
                query: &query,
                request,
                answer: &out,
                rcode,
                client: peer,
                local: None,
                transport,
                took,
            };
            assert!(log.line(&exchange).is_some_and(|line| line.is_ascii()), "a line is printable");
        }
    }
}
