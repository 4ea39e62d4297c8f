//! Switches for CoreDNS's own answers, each on and off.

use seaway_dns::corefile;
use seaway_dns::wire::kind;

use super::asked::{ask, serve_in};

const MANIFESTS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: t}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: t}
spec: {type: ExternalName, externalName: web.t.svc.cluster.local}
";

/// What is answered without the switch, and with it.
fn check(switch: &str, name: &str, kind: u16, without: &str, with: &str) {
    for (line, expected) in [("ttl 5", without), (&*format!("compat {switch}"), with), ("compat all", with)] {
        let plugin = format!("kubernetes cluster.local in-addr.arpa {{\npods insecure\n{line}\n}}");
        let found = ask(&serve_in(".".as_ref(), &plugin, MANIFESTS), name, kind);
        assert_eq!(found, expected, "{line}: {name} {}", kind::text(kind));
    }
}

#[test]
fn names_that_exist_are_denied_as_coredns_denies_them() {
    for name in ["cluster.local.", "svc.cluster.local.", "t.svc.cluster.local.", "ns.dns.cluster.local."] {
        check("txt", name, kind::TXT, "0", "3");
        check("txt", name, kind::AAAA, "0", "0");
    }
    check("txt", "web.t.svc.cluster.local.", kind::TXT, "0", "0");
    check("version", "dns-version.cluster.local.", kind::A, "0", "3");
    check("reverse", "1.0.0.10.in-addr.arpa.", kind::A, "0", "3");
    check("reverse", "0.0.10.in-addr.arpa.", kind::PTR, "0", "3");
    check("protocol", "_tcp.web.t.svc.cluster.local.", kind::A, "0", "3");
    let pointer = "0; 1.0.0.10.in-addr.arpa. PTR web.t.svc.cluster.local.";
    check("reverse", "1.0.0.10.in-addr.arpa.", kind::PTR, pointer, pointer);
}

#[test]
fn aliases_are_answered_as_coredns_answers_them() {
    let alias = "alias.t.svc.cluster.local.";
    let only = format!("0; {alias} CNAME web.t.svc.cluster.local.");
    check("alias", alias, kind::TXT, &only, "0");
    check("alias", alias, kind::CNAME, &only, &only);
    check("chase", alias, kind::AAAA, &only, "0");
    let whole = format!("{only}; web.t.svc.cluster.local. A 10.0.0.1");
    check("chase", alias, kind::A, &whole, &whole);
}

#[test]
fn labels_in_front_of_pods_are_passed_over_as_coredns_does() {
    let name = "a.1-2-3-4.t.pod.cluster.local.";
    check("pods", name, kind::A, "3", &format!("0; {name} A 1.2.3.4"));
}

#[test]
fn a_name_that_is_no_switch_is_refused() {
    for (text, problem) in [
        (
            "kubernetes cluster.local {\ncompat edns\n}",
            "\"edns\" is no switch of compat here (there are alias, chase, pods, protocol, reverse, txt, version and all)",
        ),
        ("compat txt", "\"txt\" is no switch of compat here (there are edns, truncation and all)"),
        ("compat", "compat takes at least one name, or all"),
    ] {
        let error = corefile::parse(&format!(". {{\n{text}\n}}"), ".".as_ref()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
