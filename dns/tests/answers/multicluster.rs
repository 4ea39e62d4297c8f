//! Names of Services that several clusters share.

use seaway_dns::corefile;
use seaway_dns::wire::kind;

use super::asked::{ask, serve_in, snapshot};

const MANIFESTS: &str = r"
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: web, namespace: t}
spec: {type: ClusterSetIP, ips: [10.42.0.1], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: db, namespace: t}
spec: {type: Headless, ports: [{name: sql, port: 5432, protocol: TCP}]}
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: empty, namespace: t}
spec: {type: Headless}
---
apiVersion: v1
kind: Service
metadata: {name: own, namespace: t}
spec: {clusterIP: 10.0.0.1}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-east
  namespace: t
  labels: {multicluster.kubernetes.io/service-name: db, multicluster.kubernetes.io/source-cluster: East}
addressType: IPv4
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints:
- {addresses: [10.1.0.1], hostname: db-0}
- {addresses: [10.1.0.2]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-west
  namespace: t
  labels: {multicluster.kubernetes.io/service-name: db, multicluster.kubernetes.io/source-cluster: west}
addressType: IPv4
ports: [{name: sql, port: 5433, protocol: TCP}]
endpoints:
- {addresses: [10.2.0.1], hostname: db-0}
";
const PLUGIN: &str =
    "kubernetes cluster.local clusterset.local in-addr.arpa {\nmulticluster clusterset.local\n}";

/// The response code and the answer to a name below `t.svc.ZONE`, without its owner.
fn check(front: &str, zone: &str, kind: u16, expected: &str) {
    let name = format!("{front}.t.svc.{zone}.");
    let found = ask(&serve_in(".".as_ref(), PLUGIN, MANIFESTS), &name, kind);
    assert_eq!(found.replace(&format!("{name} "), ""), expected, "{name} {}", kind::text(kind));
}

fn check_shared(front: &str, kind: u16, expected: &str) {
    check(front, "clusterset.local", kind, expected);
}

#[test]
fn shared_services_have_names_in_their_own_zone() {
    check_shared("web", kind::A, "0; A 10.42.0.1");
    check_shared("web", kind::AAAA, "0");
    check_shared("_http._tcp.web", kind::SRV, "0; SRV 0 100 80 web.t.svc.clusterset.local.");
    check_shared("db", kind::A, "0; A 10.1.0.1; A 10.1.0.2; A 10.2.0.1");
    check_shared("empty", kind::A, "3");
    check_shared("own", kind::A, "3");
    check("web", "cluster.local", kind::A, "3");
    check("own", "cluster.local", kind::A, "0; A 10.0.0.1");
}

#[test]
fn endpoints_are_below_the_id_of_their_cluster() {
    check_shared("db-0.east.db", kind::A, "0; A 10.1.0.1");
    check_shared("DB-0.East.db", kind::A, "0; A 10.1.0.1");
    check_shared("db-0.west.db", kind::A, "0; A 10.2.0.1");
    check_shared("10-1-0-2.east.db", kind::A, "0; A 10.1.0.2");
    check_shared("10-1-0-2.west.db", kind::A, "3");
    check_shared("db-0.db", kind::A, "3");
    check_shared("west.db", kind::A, "0");
    check_shared("south.db", kind::A, "3");
    check_shared("db-0.west.db", kind::SRV, "0; SRV 0 100 5433 db-0.west.db.t.svc.clusterset.local.");
    let shared = |port: u16, front: &str| format!("SRV 0 33 {port} {front}.db.t.svc.clusterset.local.");
    let all = [shared(5432, "db-0.East"), shared(5432, "10-1-0-2.East"), shared(5433, "db-0.west")];
    check_shared("_sql._tcp.db", kind::SRV, &format!("0; {}", all.join("; ")));
    // Without an underscore these are an endpoint and its cluster.
    check_shared("sql.tcp.db", kind::A, "3");
}

#[test]
fn a_change_of_an_import_changes_the_serial_and_nothing_else() {
    let serial = |manifests: &str| {
        let engine = serve_in(".".as_ref(), PLUGIN, MANIFESTS);
        let mut feed = seaway_dns::feed::Feed::new(&engine);
        feed.update(&engine, &snapshot(MANIFESTS), 1);
        feed.update(&engine, &snapshot(manifests), 1);
        let index = engine.chains()[0].kubernetes.as_ref().unwrap().index();
        (index.serial, ask(&engine, "web.t.svc.clusterset.local.", kind::A))
    };
    let answer = |address: &str| format!("0; web.t.svc.clusterset.local. A {address}");
    assert_eq!(serial(MANIFESTS), (1, answer("10.42.0.1")));
    assert_eq!(serial(&MANIFESTS.replace("10.42.0.1", "10.42.0.2")), (2, answer("10.42.0.2")));
}

#[test]
fn a_shared_zone_is_one_of_the_plugins_zones() {
    for (zones, problem) in [
        ("clusterset.local", "clusterset.local. is none of the zones of this plugin; add it there"),
        ("", "multicluster takes at least one zone"),
    ] {
        let text = format!(". {{\n kubernetes cluster.local {{\n  multicluster {zones}\n }}\n}}\n");
        let error = corefile::parse(&text, ".".as_ref()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
