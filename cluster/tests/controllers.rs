//! Slices made where manifests give none: from Pods, and from Endpoints objects.

use std::fmt::Write;

use seaway_cluster::{ObjectName, Snapshot};

const NODES: &str = "\
---
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}}
";

/// The slices of `default/web` as lines, given a Service with this spec and these documents.
fn check(spec: &str, documents: &[String], expected: &[&str]) {
    check_with_warnings(spec, documents, expected, &[]);
}

fn check_with_warnings(spec: &str, documents: &[String], expected: &[&str], warnings: &[&str]) {
    let service = format!("{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{{spec}}}}}");
    let text = format!("{service}\n{NODES}---\n{}", documents.join("\n---\n"));
    let (snapshot, found) = Snapshot::from_manifests(&text);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, warnings, "{text}");
    assert_eq!(slices(&snapshot), expected, "{text}");
}

/// A line for each slice, and one for each endpoint below it.
fn slices(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for slice in snapshot.slices_of(&ObjectName::new("default", "web")) {
        let ports = slice.ports.iter().map(|port| format!(" {}={}/{}", port.name, port.port, port.protocol));
        let headless = if slice.headless { " headless" } else { "" };
        lines.push(format!("{}{headless}{}", slice.name.name, ports.collect::<String>()));
        for endpoint in &slice.endpoints {
            let mut line = format!("  {}", endpoint.address);
            let flags = [
                ("ready", endpoint.ready),
                ("serving", endpoint.serving),
                ("terminating", endpoint.terminating),
            ];
            for (flag, _) in flags.iter().filter(|(_, set)| *set) {
                write!(line, " {flag}").unwrap();
            }
            let names =
                [endpoint.node(), endpoint.zone(), endpoint.hostname.as_deref(), endpoint.pod.as_deref()];
            for (key, name) in ["node", "zone", "hostname", "pod"].iter().zip(names) {
                if let Some(name) = name {
                    write!(line, " {key}={name}").unwrap();
                }
            }
            let hints = [("for-zone", &endpoint.hints().zones), ("for-node", &endpoint.hints().nodes)];
            for (key, names) in hints {
                for name in names.iter() {
                    write!(line, " {key}={name}").unwrap();
                }
            }
            lines.push(line);
        }
    }
    lines
}

/// A Pod with the label `app: web`, a spec and a status.
fn pod(name: &str, metadata: &str, spec: &str, status: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: web, x: y}}, {metadata}}}, \
         spec: {{{spec}}}, status: {{{status}}}}}"
    )
}

fn ready(ip: &str) -> String {
    format!("podIP: '{ip}', conditions: [{{type: Ready, status: 'True'}}]")
}

fn unready(ip: &str) -> String {
    format!("podIP: '{ip}', conditions: [{{type: Ready, status: 'False'}}]")
}

const WEB: &str = "selector: {app: web}, clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: 8080}]";
const DELETED: &str = "deletionTimestamp: 2026-01-01T00:00:00Z";

#[test]
fn conditions_follow_readiness_and_deletion() {
    let pods = [
        pod("a", "", "nodeName: n1", &ready("10.1.0.1")),
        pod("b", "", "nodeName: n2", &unready("10.1.0.2")),
        pod("c", DELETED, "nodeName: n3", &ready("10.1.0.3")),
        pod("d", DELETED, "", &unready("10.1.0.4")),
    ];
    check(
        WEB,
        &pods,
        &[
            "web.pods.ipv4.8080 =8080/TCP",
            "  10.1.0.1 ready serving node=n1 zone=z1 pod=a",
            "  10.1.0.2 node=n2 pod=b",
            "  10.1.0.3 serving terminating node=n3 pod=c",
            "  10.1.0.4 terminating pod=d",
        ],
    );
    check(
        &format!("publishNotReadyAddresses: true, {WEB}"),
        &pods[1..],
        &[
            "web.pods.ipv4.8080 =8080/TCP",
            "  10.1.0.2 ready node=n2 pod=b",
            "  10.1.0.3 ready serving terminating node=n3 pod=c",
            "  10.1.0.4 ready terminating pod=d",
        ],
    );
}

#[test]
fn pods_that_cannot_serve_are_left_out() {
    check(
        WEB,
        &[
            pod("done", "", "", &format!("phase: Succeeded, {}", ready("10.1.0.1"))),
            pod("failed", "", "", &format!("phase: Failed, {}", ready("10.1.0.2"))),
            pod("pending", "", "", "phase: Pending"),
            pod("elsewhere", "namespace: other", "", &ready("10.1.0.3")),
            pod("other", "", "", &ready("10.1.0.4")).replace("app: web", "app: db"),
        ],
        &[],
    );
}

#[test]
fn every_part_of_the_selector_must_match() {
    let pods = [pod("a", "", "", &ready("10.1.0.1"))];
    let slice = ["web.pods.ipv4.80 =80/TCP", "  10.1.0.1 ready serving pod=a"];
    let spec =
        |selector: &str| format!("selector: {{{selector}}}, clusterIP: 10.96.0.1, ports: [{{port: 80}}]");
    check(&spec("app: web"), &pods, &slice);
    check(&spec("app: web, x: y"), &pods, &slice);
    check(&spec("app: web, x: z"), &pods, &[]);
    check(&spec("app: web, tier: front"), &pods, &[]);
    check(&spec(""), &pods, &[]);
}

#[test]
fn named_ports_are_looked_up_in_each_pod() {
    let spec = "selector: {app: web}, clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: web}, \
                {name: dns, port: 53, protocol: UDP, targetPort: dns}]";
    let ports = |ports: &str| format!("containers: [{{name: c, ports: [{ports}]}}]");
    let sidecar =
        "initContainers: [{name: s, restartPolicy: Always, ports: [{name: web, containerPort: 9}]}]";
    let init = "initContainers: [{name: s, ports: [{name: web, containerPort: 9}]}]";
    check(
        spec,
        &[
            pod("a", "", &ports("{name: web, containerPort: 8080}"), &ready("10.1.0.1")),
            pod("b", "", &ports("{name: web, containerPort: 8080}"), &ready("10.1.0.2")),
            pod("c", "", &ports("{name: web, containerPort: 9090}"), &ready("10.1.0.3")),
            pod(
                "d",
                "",
                &ports("{name: web, containerPort: 9}, {name: dns, containerPort: 53, protocol: UDP}"),
                &ready("10.1.0.4"),
            ),
            pod("e", "", &ports("{name: dns, containerPort: 53}"), &ready("10.1.0.5")),
            pod("f", "", sidecar, &ready("10.1.0.6")),
            pod("g", "", init, &ready("10.1.0.7")),
            pod(
                "h",
                "",
                &format!("{}, {sidecar}", ports("{name: web, containerPort: 1}")),
                &ready("10.1.0.8"),
            ),
        ],
        &[
            "web.pods.ipv4.-.-",
            "  10.1.0.5 ready serving pod=e",
            "  10.1.0.7 ready serving pod=g",
            "web.pods.ipv4.1.- http=1/TCP",
            "  10.1.0.8 ready serving pod=h",
            "web.pods.ipv4.8080.- http=8080/TCP",
            "  10.1.0.1 ready serving pod=a",
            "  10.1.0.2 ready serving pod=b",
            "web.pods.ipv4.9.- http=9/TCP",
            "  10.1.0.6 ready serving pod=f",
            "web.pods.ipv4.9.53 http=9/TCP dns=53/UDP",
            "  10.1.0.4 ready serving pod=d",
            "web.pods.ipv4.9090.- http=9090/TCP",
            "  10.1.0.3 ready serving pod=c",
        ],
    );
}

#[test]
fn families_are_those_of_the_service() {
    let both = "podIPs: [{ip: 10.1.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True'}]";
    let pods = [pod("a", "", "", both), pod("b", "", "", &ready("10.1.0.2"))];
    let v4 = ["web.pods.ipv4.80 =80/TCP", "  10.1.0.1 ready serving pod=a", "  10.1.0.2 ready serving pod=b"];
    let v6 = ["web.pods.ipv6.80 =80/TCP", "  fd00::1 ready serving pod=a"];
    let spec = |rest: &str| format!("selector: {{app: web}}, ports: [{{port: 80}}], {rest}");
    check(&spec("clusterIP: 10.96.0.1"), &pods, &v4);
    check(&spec("clusterIP: 'fd96::1'"), &pods, &v6);
    check(&spec("clusterIPs: [10.96.0.1, 'fd96::1']"), &pods, &[&v4[..], &v6].concat());
    check(&spec("clusterIP: 10.96.0.1, ipFamilies: [IPv4, IPv6]"), &pods, &[&v4[..], &v6].concat());
    let headless =
        |lines: &[&str]| lines.iter().map(|line| line.replace(" =80", " headless =80")).collect::<Vec<_>>();
    let check_headless = |rest: &str, expected: &[&str]| {
        let expected = headless(expected);
        check(&spec(rest), &pods, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check_headless("clusterIP: None", &[&v4[..], &v6].concat());
    check_headless("clusterIP: None, ipFamilies: [IPv6]", &v6);
}

#[test]
fn a_headless_service_without_ports_has_endpoints() {
    check(
        "selector: {app: web}, clusterIP: None",
        &[pod("a", "", "", &ready("10.1.0.1"))],
        &["web.pods.ipv4 headless", "  10.1.0.1 ready serving pod=a"],
    );
}

#[test]
fn a_host_name_counts_if_the_subdomain_is_the_service() {
    check(
        WEB,
        &[
            pod("a", "", "hostname: first, subdomain: web", &ready("10.1.0.1")),
            pod("b", "", "hostname: second, subdomain: other", &ready("10.1.0.2")),
            pod("c", "", "hostname: third", &ready("10.1.0.3")),
        ],
        &[
            "web.pods.ipv4.8080 =8080/TCP",
            "  10.1.0.1 ready serving hostname=first pod=a",
            "  10.1.0.2 ready serving pod=b",
            "  10.1.0.3 ready serving pod=c",
        ],
    );
}

#[test]
fn traffic_distribution_gives_ready_endpoints_hints() {
    let pods = [
        pod("a", "", "nodeName: n1", &ready("10.1.0.1")),
        pod("b", "", "nodeName: n1", &unready("10.1.0.2")),
        pod("c", "", "nodeName: n2", &ready("10.1.0.3")),
        pod("d", "", "", &ready("10.1.0.4")),
    ];
    let check = |distribution: &str, zone: &str, nodes: [&str; 2]| {
        check(
            &format!("{WEB}, {distribution}"),
            &pods,
            &[
                "web.pods.ipv4.8080 =8080/TCP",
                &format!("  10.1.0.1 ready serving node=n1 zone=z1 pod=a{zone}{}", nodes[0]),
                "  10.1.0.2 node=n1 zone=z1 pod=b",
                &format!("  10.1.0.3 ready serving node=n2 pod=c{}", nodes[1]),
                "  10.1.0.4 ready serving pod=d",
            ],
        );
    };
    check("", "", ["", ""]);
    check("trafficDistribution: PreferClose", " for-zone=z1", ["", ""]);
    check("trafficDistribution: PreferSameZone", " for-zone=z1", ["", ""]);
    check("trafficDistribution: PreferSameNode", " for-zone=z1", [" for-node=n1", " for-node=n2"]);
}

fn own_slice() -> String {
    "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: own, labels: \
     {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: [{addresses: [10.2.0.1]}]}"
        .to_owned()
}

fn endpoints(metadata: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Endpoints, metadata: {{name: web, {metadata}}}, subsets: [{{addresses: [{{ip: \
         10.3.0.1, nodeName: n1, hostname: h, targetRef: {{kind: Pod, name: p}}}}, {{ip: 'fd00::3'}}], \
         notReadyAddresses: [{{ip: 10.3.0.2}}], ports: [{{name: http, port: 80}}, {{name: dns, port: 53, protocol: \
         UDP}}]}}, {{addresses: [{{ip: 10.3.0.3}}], ports: [{{name: http, port: 81}}]}}]}}"
    )
}

const PLAIN: &str = "clusterIP: 10.96.0.1, ports: [{port: 80}]";
const OWN: [&str; 2] = ["own", "  10.2.0.1 ready serving"];

#[test]
fn an_endpoints_object_is_mirrored_for_a_service_without_selector() {
    let mirrored = [
        "web.mirror.0.ipv4 http=80/TCP dns=53/UDP",
        "  10.3.0.1 ready serving node=n1 hostname=h pod=p",
        "  10.3.0.2 serving",
        "web.mirror.0.ipv6 http=80/TCP dns=53/UDP",
        "  fd00::3 ready serving",
        "web.mirror.1.ipv4 http=81/TCP",
        "  10.3.0.3 ready serving",
    ];
    check(PLAIN, &[endpoints("")], &mirrored);
    check(PLAIN, &[endpoints("labels: {endpointslice.kubernetes.io/skip-mirror: 'false'}")], &mirrored);
    check(PLAIN, &[endpoints("labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}")], &[]);
    check(PLAIN, &[endpoints("annotations: {control-plane.alpha.kubernetes.io/leader: x}")], &[]);
    check(PLAIN, &[endpoints("").replace("name: web", "name: other")], &[]);
}

#[test]
fn given_slices_come_first() {
    let pods = pod("a", "", "", &ready("10.1.0.1"));
    check(PLAIN, &[own_slice(), endpoints("")], &OWN);
    check(WEB, &[own_slice(), pods], &OWN);
}

#[test]
fn pods_come_before_an_endpoints_object() {
    let pods = pod("a", "", "", &ready("10.1.0.1"));
    let made = ["web.pods.ipv4.8080 =8080/TCP", "  10.1.0.1 ready serving pod=a"];
    check(WEB, &[pods, endpoints("")], &made);
    check_with_warnings(
        WEB,
        &[endpoints("")],
        &[],
        &[
            "text, document 4, line 7: Endpoints default/web: is not read: the Service of this name has a selector, so \
           its endpoints are the Pods it selects, and there is none; remove the selector or give an EndpointSlice",
        ],
    );
}
