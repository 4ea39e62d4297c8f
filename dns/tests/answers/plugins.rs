//! Plugins beside the cluster's names, one Corefile line at a time.

use std::net::SocketAddr;
use std::time::Instant;

use hickory_proto::op::Message;
use std::sync::Arc;

use seaway_dns::engine::{Context, Engine};
use seaway_dns::metrics::Metrics;
use seaway_dns::wire::kind;
use seaway_dns::wire::writer::Transport;

use super::asked::{ask, ask_from, query, serve as serve_cluster, serve_in, summary};

const MANIFESTS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: t, labels: {app: web}}
spec: {clusterIP: 10.0.0.1, externalIPs: [192.0.2.1], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: named, namespace: t}
spec: {type: LoadBalancer, clusterIP: 10.0.0.2, ports: [{name: http, port: 80, protocol: TCP}]}
status: {loadBalancer: {ingress: [{hostname: lb.example.net}]}}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: t}
spec: {type: ExternalName, externalName: www.example.org}
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
endpoints:
- {addresses: [10.1.0.1], hostname: a}
- {addresses: [10.1.0.2], hostname: b}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: t}
spec: {containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.1.9.1, podIPs: [{ip: 10.1.9.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: t}
spec: {hostNetwork: true, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 10.1.9.2, podIPs: [{ip: 10.1.9.2}]}
";
const ZONE: &str = "
@ IN SOA ns hostmaster 7 7200 1800 86400 60
@ IN NS ns
ns IN A 192.0.2.53
www IN A 192.0.2.80
alias IN CNAME www
*.wild IN TXT any
below.empty IN A 192.0.2.81
sub IN NS ns.sub
ns.sub IN A 192.0.2.54
";

fn serve(plugins: &str) -> Engine {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("zone"), ZONE).unwrap();
    serve_in(dir.path(), &format!("kubernetes cluster.local {{\npods verified\n}}\n{plugins}"), MANIFESTS)
}

/// What a block with some plugins answers to a client at 10.1.9.1.
fn check(plugins: &str, name: &str, kind: u16, expected: &str) {
    check_from("10.1.9.1", plugins, name, kind, expected);
}

fn check_from(client: &str, plugins: &str, name: &str, kind: u16, expected: &str) {
    let found = ask_from(client, &serve(plugins), name, kind);
    assert_eq!(found, expected, "{plugins}: {name} {}", kind::text(kind));
}

#[test]
fn acl_decides_by_source_and_type() {
    const WEB: &str = "web.t.svc.cluster.local.";
    const FOUND: &str = "0; web.t.svc.cluster.local. A 10.0.0.1";
    check("acl {\nblock net 10.1.9.1\n}", WEB, kind::A, "5");
    check("acl {\nallow net 10.1.9.0/24\nblock\n}", WEB, kind::A, FOUND);
    check_from("10.2.0.1", "acl {\nallow net 10.1.9.0/24\nblock\n}", WEB, kind::A, "5");
    check("acl {\nfilter type AAAA\n}", WEB, kind::A, FOUND);
    check("acl {\nfilter type A net *\n}", WEB, kind::A, "0");
    check("acl {\ndrop\n}", WEB, kind::A, "silence");
    check("acl example.org {\ndrop\n}", WEB, kind::A, FOUND);
}

#[test]
fn rewritten_names_come_back_as_they_were_asked() {
    const FOUND: &str = "0; wEb.example.org. A 10.0.0.1";
    let asked = "wEb.example.org.";
    check("rewrite name web.example.org web.t.svc.cluster.local", asked, kind::A, FOUND);
    check("rewrite name suffix .example.org .t.svc.cluster.local", asked, kind::A, FOUND);
    check("rewrite name regex (.*)\\.example\\.org {1}.t.svc.cluster.local", asked, kind::A, FOUND);
    check(
        "rewrite continue name prefix web db\nrewrite name suffix .example.org .t.svc.cluster.local",
        "web.example.org.",
        kind::A,
        "0; web.example.org. A 10.1.0.1; web.example.org. A 10.1.0.2",
    );
    check("rewrite name other.example.org web.t.svc.cluster.local", asked, kind::A, "2");
    check(
        "rewrite type AAAA A",
        "web.t.svc.cluster.local.",
        kind::AAAA,
        "0; web.t.svc.cluster.local. A 10.0.0.1",
    );
    let srv = "rewrite name suffix .example.org .t.svc.cluster.local answer auto";
    check(
        srv,
        "_http._tcp.web.example.org.",
        kind::SRV,
        "0; _http._tcp.web.example.org. SRV 0 100 80 web.example.org.",
    );
}

#[test]
fn templates_answer_with_parts_of_the_name() {
    let template = "template IN A example.org {\nmatch ^ip-(?P<a>\\d+)-(\\d+)-(\\d+)-(\\d+)\\.\nanswer \"{{ .Name }} 60 IN A {{ .Group.a }}.{{ index .Match 2 }}.{{ index .Match 3 }}.{{ index .Match 4 }}\"\n";
    check(
        &format!("{template}}}"),
        "ip-10-0-0-9.Example.org.",
        kind::A,
        "0; ip-10-0-0-9.Example.org. A 10.0.0.9",
    );
    check(&format!("{template}}}"), "www.example.org.", kind::A, "2");
    check(
        &format!("{template}fallthrough\n}}\nhosts {{\n192.0.2.9 www.example.org\n}}"),
        "www.example.org.",
        kind::A,
        "0; www.example.org. A 192.0.2.9",
    );
    let ndots =
        "template ANY ANY svc.cluster.local {\nmatch \\.org\\.t\\.svc\\.\nrcode NXDOMAIN\nfallthrough\n}";
    check(ndots, "www.example.org.t.svc.cluster.local.", kind::AAAA, "3");
    check(ndots, "web.t.svc.cluster.local.", kind::A, "0; web.t.svc.cluster.local. A 10.0.0.1");
}

#[test]
fn hosts_know_names_and_addresses() {
    let hosts = "hosts {\n192.0.2.9 a.example.org b.example.org\nfd00::9 a.example.org\nttl 60\nfallthrough example.net\n}";
    check(hosts, "A.example.org.", kind::A, "0; A.example.org. A 192.0.2.9");
    check(hosts, "a.example.org.", kind::AAAA, "0; a.example.org. AAAA fd00::9");
    check(hosts, "b.example.org.", kind::AAAA, "0");
    check(hosts, "c.example.org.", kind::A, "2");
    for (name, vouched) in [("a.example.org.", true), ("c.example.org.", false)] {
        let mut out = Vec::new();
        serve(hosts).step(&query(name, kind::A), Context::new(Transport::Udp, 53, Instant::now()), &mut out);
        let authoritative = Message::from_vec(&out).unwrap().metadata.authoritative;
        assert_eq!(authoritative, vouched, "{name}");
    }
    check(
        hosts,
        "9.2.0.192.in-addr.arpa.",
        kind::PTR,
        "0; 9.2.0.192.in-addr.arpa. PTR a.example.org.; 9.2.0.192.in-addr.arpa. PTR b.example.org.",
    );
}

#[test]
fn zone_files_answer_as_zones_do() {
    let file = "file zone example.org";
    check(file, "www.example.org.", kind::A, "0; www.example.org. A 192.0.2.80");
    check(
        file,
        "alias.example.org.",
        kind::A,
        "0; alias.example.org. CNAME www.example.org.; www.example.org. A 192.0.2.80",
    );
    check(file, "x.y.wild.example.org.", kind::TXT, "0; x.y.wild.example.org. TXT any");
    check(file, "empty.example.org.", kind::A, "0");
    check(file, "gone.example.org.", kind::A, "3");
    check(file, "gone.empty.example.org.", kind::A, "3");
    check(file, "www.example.org.", kind::AAAA, "0");
    check(file, "host.sub.example.org.", kind::A, "0");
    check(file, "alias.t.svc.cluster.local.", kind::A, "Own");
}

#[test]
fn names_for_those_outside_lead_to_outside_addresses() {
    let external = "k8s_external example.com in-addr.arpa {\nttl 9\n}";
    check(external, "web.t.example.com.", kind::A, "0; web.t.example.com. A 192.0.2.1");
    check(external, "web.t.example.com.", kind::AAAA, "0");
    check(
        external,
        "_http._tcp.web.t.example.com.",
        kind::SRV,
        "0; _http._tcp.web.t.example.com. SRV 0 100 80 web.t.example.com.",
    );
    check(
        external,
        "1.2.0.192.in-addr.arpa.",
        kind::PTR,
        "0; 1.2.0.192.in-addr.arpa. PTR web.t.example.com.",
    );
    check(external, "named.t.example.com.", kind::A, "Own");
    check(external, "named.t.example.com.", kind::CNAME, "0; named.t.example.com. CNAME lb.example.net.");
    check(external, "t.example.com.", kind::A, "0");
    check(external, "db.t.example.com.", kind::A, "3");
    check(external, "dns.example.com.", kind::A, "0");
    check(external, "example.com.", kind::NS, "0; example.com. NS ns1.dns.example.com.");
    let headless = "k8s_external example.com {\nheadless\n}";
    check(
        headless,
        "db.t.example.com.",
        kind::A,
        "0; db.t.example.com. A 10.1.0.1; db.t.example.com. A 10.1.0.2",
    );
    check(headless, "a.db.t.example.com.", kind::A, "0; a.db.t.example.com. A 10.1.0.1");
}

#[test]
fn searches_are_done_for_pods_and_for_nobody_else() {
    let search = "autopath cluster.local @kubernetes\nfile zone example.org";
    let asked = "www.example.org.t.svc.cluster.local.";
    let found =
        "0; www.example.org.t.svc.cluster.local. CNAME www.example.org.; www.example.org. A 192.0.2.80";
    check(search, asked, kind::A, found);
    check(search, asked, kind::AAAA, "0");
    check(
        search,
        "web.t.t.svc.cluster.local.",
        kind::A,
        "0; web.t.t.svc.cluster.local. CNAME web.t.svc.cluster.local.; web.t.svc.cluster.local. A 10.0.0.1",
    );
    check(search, "gone.example.org.t.svc.cluster.local.", kind::A, "3");
    check(search, "www.example.org.svc.cluster.local.", kind::A, "3");
    check_from("10.1.9.2", search, asked, kind::A, "3");
    check_from("10.1.9.3", search, asked, kind::A, "3");
}

#[test]
fn searches_that_lead_to_an_answer_are_counted() {
    let metrics = Arc::new(Metrics::default());
    let engine = serve("autopath cluster.local @kubernetes\nfile zone example.org").counted(&metrics);
    for name in ["www.example.org.t.svc.cluster.local.", "gone.example.org.t.svc.cluster.local."] {
        ask_from("10.1.9.1", &engine, name, kind::A);
    }
    let text = metrics.text().unwrap();
    assert!(text.contains("coredns_autopath_success_total{server=\"dns://:53\"} 1\n"), "{text}");
}

#[test]
fn zones_go_to_those_who_may_have_them() {
    let engine = serve("transfer {\nto 10.1.9.0/24\n}\nfile zone example.org");
    let ask = |name: &str, kind, client: &str| {
        let peer = SocketAddr::new(client.parse().unwrap(), 4000);
        engine.transfer(&query(name, kind), 53, peer).map(|messages| summary(&messages.concat()))
    };
    assert_eq!(ask("cluster.local.", kind::AXFR, "10.2.0.1"), None);
    assert_eq!(ask("svc.cluster.local.", kind::AXFR, "10.1.9.1"), None);
    assert_eq!(ask("cluster.local.", kind::A, "10.1.9.1"), None);
    let zone = ask("cluster.local.", kind::AXFR, "10.1.9.1").unwrap();
    for record in [
        "web.t.svc.cluster.local. A 10.0.0.1",
        "_http._tcp.web.t.svc.cluster.local. SRV 0 100 80 web.t.svc.cluster.local.",
        "alias.t.svc.cluster.local. CNAME www.example.org.",
        "a.db.t.svc.cluster.local. A 10.1.0.1",
        "_sql._tcp.db.t.svc.cluster.local. SRV 0 50 5432 a.db.t.svc.cluster.local.",
    ] {
        assert!(zone.split("; ").any(|found| found == record), "{record} in {zone}");
    }
    assert_eq!(zone.matches("SOA").count(), 2);
    assert_eq!(ask("example.org.", kind::AXFR, "10.1.9.1").unwrap().split("; ").count(), 11);
}

#[test]
fn labels_choose_services() {
    let engine = serve_cluster("labels app=web", MANIFESTS);
    let found = ask(&engine, "web.t.svc.cluster.local.", kind::A);
    assert_eq!(found, "0; web.t.svc.cluster.local. A 10.0.0.1");
    assert_eq!(ask(&engine, "db.t.svc.cluster.local.", kind::A), "3");
}

#[test]
fn labels_choose_namespaces() {
    let namespace = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: t, labels: {team: a}}}\n";
    let engine = |selector: &str| {
        let options = format!("namespace_labels {selector}\npods insecure");
        serve_cluster(&options, &format!("{MANIFESTS}{namespace}"))
    };
    for name in ["web.t.svc.cluster.local.", "1-2-3-4.t.pod.cluster.local."] {
        assert!(ask(&engine("team in (a, b)"), name, kind::A).starts_with("0; "), "{name}");
        assert_eq!(ask(&engine("team=b"), name, kind::A), "3", "{name}");
    }
    assert_eq!(ask(&engine("team=b"), "t.svc.cluster.local.", kind::A), "3");
}

#[test]
fn who_asks_is_told() {
    let engine = serve("whoami");
    let peer = Some("10.1.9.1:4000".parse().unwrap());
    let context = Context { peer, ..Context::new(Transport::Udp, 53, Instant::now()) };
    let mut out = Vec::new();
    engine.step(&query("who.example.", kind::A), context, &mut out);
    let message = Message::from_vec(&out).unwrap();
    let told: Vec<String> = message.additionals.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(told, ["10.1.9.1", "0 0 4000 ."]);
}
