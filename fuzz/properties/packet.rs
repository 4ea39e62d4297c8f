//! What holds for any octets that come as a query: an answer is theirs, is whole, and fits.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hickory_proto::op::Message;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
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
";
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
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut out = Vec::new();
        let peer = Some(([127, 0, 0, 1], 5300).into());
        let context = Context { peer, ..Context::new(transport, 53, Instant::now()) };
        if !matches!(ENGINE.step(octets, context, &mut out), Step::Reply(_)) {
            continue;
        }
        assert!(out.len() >= 12 && out[..2] == octets[..2], "an answer to another query");
        assert_eq!(out[2] & 0x80, 0x80, "an answer says that it is one");
        assert!(out.len() <= 65_535);
        let answer = Message::from_vec(&out).unwrap_or_else(|error| panic!("{error}: {out:02x?}"));
        if transport == Transport::Udp && answer.edns.is_none() {
            assert!(out.len() <= PLAIN_MAX, "{} octets", out.len());
        }
    }
}
