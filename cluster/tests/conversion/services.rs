//! Services: defaults, tolerated parts and refusals.

use std::fmt::Debug;

use seaway_cluster::{Service, convert};

use super::{check_left_out, read};

/// One field of a Service with this spec, in `Debug` form. The spec has a cluster IP and a port
/// unless it says otherwise.
fn check<T: Debug>(spec: &str, field: fn(&Service) -> T, expected: &str) {
    check_with_note(spec, field, expected, &[]);
}

/// The same, with warnings.
fn check_with_note<T: Debug>(spec: &str, field: fn(&Service) -> T, expected: &str, notes: &[&str]) {
    let notes: Vec<_> = notes.iter().map(|note| format!("{PLACE}: Service default/a: {note}")).collect();
    let notes: Vec<_> = notes.iter().map(String::as_str).collect();
    let snapshot = read(&service(spec), &notes);
    let service = snapshot.services.values().next().unwrap();
    assert_eq!(service.name.to_string(), "default/a");
    assert_eq!(format!("{:?}", field(service)), expected, "{spec}");
}

/// A spec that makes the Service invalid.
fn check_refused(spec: &str, warning: &str) {
    check_left_out(&service(spec), &[&format!("{PLACE}: Service default/a: {warning}")]);
}

const PLACE: &str = "text, document 1, line 1";

fn service(spec: &str) -> String {
    let cluster_ip = if spec.contains("clusterIP") { "" } else { "clusterIP: 10.0.0.1, " };
    let ports = if spec.contains("ports:") { "" } else { "ports: [{port: 80}], " };
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{{cluster_ip}{ports}{spec}}}}}")
}

#[test]
fn absent_fields_mean_what_the_api_server_defaults_to() {
    check("", |s| s.kind.clone(), "ClusterIp");
    check("", |s| s.cluster_ips.clone(), "[10.0.0.1]");
    check("", |s| s.headless, "false");
    check("", |s| s.affinity, "None");
    check("", |s| (s.internal_policy, s.external_policy), "(Cluster, Cluster)");
    check("", |s| s.distribution, "None");
    check("", |s| s.ports[0].protocol, "Tcp");
    check("", |s| s.ports[0].name.clone(), "\"\"");
    check("", |s| s.ports[0].node_port, "0");
    check("", |s| s.ports[0].target.clone(), "Number(80)");
    check("ports: [{port: 80, targetPort: 0}]", |s| s.ports[0].target.clone(), "Number(80)");
    check("ports: [{port: 80, targetPort: ''}]", |s| s.ports[0].target.clone(), "Number(80)");
    check("sessionAffinity: ClientIP", |s| s.affinity, "ClientIp { timeout_s: 10800 }");
    check("selector: null, externalIPs: null, ports: []", |s| s.ports.len(), "0");
}

#[test]
fn given_fields_are_kept() {
    check("type: NodePort, ports: [{port: 80, nodePort: 30000}]", |s| s.ports[0].node_port, "30000");
    check("ports: [{port: 80, targetPort: web}]", |s| s.ports[0].target.clone(), "Name(\"web\")");
    check("ports: [{port: 80, targetPort: 8080}]", |s| s.ports[0].target.clone(), "Number(8080)");
    check("internalTrafficPolicy: Local", |s| s.internal_policy, "Local");
    check("externalTrafficPolicy: Local", |s| s.external_policy, "Local");
    check("publishNotReadyAddresses: true", |s| s.publish_not_ready, "true");
    check("selector: {app: web}", |s| s.selector.clone(), "{\"app\": \"web\"}");
    check("trafficDistribution: PreferClose", |s| s.distribution, "Some(PreferSameZone)");
    check("trafficDistribution: PreferSameZone", |s| s.distribution, "Some(PreferSameZone)");
    check("trafficDistribution: PreferSameNode", |s| s.distribution, "Some(PreferSameNode)");
    check("clusterIPs: [10.0.0.1, 'fd00::1']", |s| s.cluster_ips.clone(), "[10.0.0.1, fd00::1]");
    check("clusterIP: None", |s| (s.headless, s.cluster_ips.len()), "(true, 0)");
    check("clusterIPs: [None]", |s| (s.headless, s.cluster_ips.len()), "(true, 0)");
    let alias = "type: ExternalName, externalName: x.example.com, clusterIP: ''";
    check(alias, |s| s.kind.clone(), "ExternalName(\"x.example.com\")");
    let session = "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}";
    check(session, |s| s.affinity, "ClientIp { timeout_s: 60 }");
}

/// The Service with these annotations and this traffic distribution.
fn check_annotated(annotations: &str, distribution: &str, expected: &str) {
    let annotated = format!("metadata: {{name: a, annotations: {{{annotations}}}}}");
    let spec =
        if distribution.is_empty() { String::new() } else { format!("trafficDistribution: {distribution}") };
    let snapshot = read(&service(&spec).replace("metadata: {name: a}", &annotated), &[]);
    let service = snapshot.services.values().next().unwrap();
    assert_eq!(format!("{:?} {:?}", service.distribution, service.annotations), expected);
}

#[test]
fn only_own_annotations_are_kept_and_the_topology_mode_wins_over_the_field() {
    let mode = "service.kubernetes.io/topology-mode";
    let hints = "service.kubernetes.io/topology-aware-hints";
    check_annotated("seaway.io/algorithm: maglev, other.io/x: y", "", "None {\"algorithm\": \"maglev\"}");
    check_annotated(&format!("{mode}: Auto"), "", "Some(PreferSameZone) {}");
    check_annotated(&format!("{mode}: auto"), "PreferSameNode", "Some(PreferSameZone) {}");
    check_annotated(&format!("{mode}: Disabled"), "PreferSameNode", "Some(PreferSameNode) {}");
    check_annotated(&format!("{mode}: Auto, {hints}: Disabled"), "", "None {}");
    check_annotated(&format!("{mode}: Disabled, {hints}: Auto"), "", "Some(PreferSameZone) {}");
}

#[test]
fn a_part_that_kube_proxy_tolerates_is_left_out_alone() {
    check_with_note(
        "externalIPs: [192.0.2.1, nonsense, '2001:db8::1']",
        |s| s.external_ips.clone(),
        "[192.0.2.1, 2001:db8::1]",
        &["spec.externalIPs[1]: \"nonsense\" is not an IP address; left out"],
    );
    check_with_note(
        "loadBalancerSourceRanges: [10.1.2.3/8, 10.0.0.1]",
        |s| s.source_ranges.clone(),
        "[10.0.0.0/8]",
        &["spec.loadBalancerSourceRanges[1]: \"10.0.0.1\" is not an address range; left out (with no range \
           left, every source is let in)"],
    );
    check_with_note(
        "trafficDistribution: PreferCheap",
        |s| s.distribution,
        "None",
        &["spec.trafficDistribution: \"PreferCheap\" is not known; ignored"],
    );
}

#[test]
fn a_misspelt_field_is_named() {
    check_with_note(
        "clusterIp: 10.0.0.2, clusterIP: 10.0.0.1, ports: [{port: 80, target: 8080}]",
        |s| s.ports[0].target.clone(),
        "Number(80)",
        &[
            "spec.clusterIp: is not a field of this Service; ignored",
            "spec.ports[0].target: is not a field of this Service; ignored",
        ],
    );
}

#[test]
fn what_only_an_allocator_could_fill_in_is_named() {
    check_with_note(
        "clusterIP: ''",
        |s| s.cluster_ips.len(),
        "0",
        &["spec.clusterIP: is absent; nothing allocates one here, so the Service is not reachable"],
    );
    check_with_note(
        "type: NodePort",
        |s| s.ports[0].node_port,
        "0",
        &["spec.ports[0].nodePort: is absent; nothing allocates one here, so there is none"],
    );
}

#[test]
fn what_the_api_server_would_refuse_is_left_out_as_a_whole() {
    check_refused("ports: [{}]", "spec.ports[0].port: 0 is not a port (1 to 65535)");
    check_refused("ports: [{port: 70000}]", "spec.ports[0].port: 70000 is not a port (1 to 65535)");
    check_refused("ports: [{port: -1}]", "spec.ports[0].port: -1 is not a port (1 to 65535)");
    check_refused("ports: [{port: x}]", "spec.ports[0].port: cannot be read: invalid i32");
    check_refused(
        "ports: [{port: 80, nodePort: 65536}]",
        "spec.ports[0].nodePort: 65536 is not a port (1 to 65535)",
    );
    check_refused(
        "ports: [{port: 80, targetPort: 65536}]",
        "spec.ports[0].targetPort: 65536 is not a port (1 to 65535)",
    );
    check_refused(
        "ports: [{port: 80, targetPort: '8080'}]",
        "spec.ports[0].targetPort: \"8080\" is a text; write the number without quotes",
    );
    check_refused(
        "ports: [{port: 80, protocol: tcp}]",
        "spec.ports[0].protocol: \"tcp\" is not a protocol (TCP, UDP or SCTP)",
    );
    check_refused(
        "ports: [{port: 80, name: a}, {port: 80, name: b}]",
        "spec.ports: two entries with port \"80\" and protocol TCP",
    );
    check_refused(
        "ports: [{port: 80}, {port: 81}]",
        "spec.ports: two entries with name \"\" and protocol TCP",
    );
    check_refused(
        "ports: [{port: 80, name: a, nodePort: 30000}, {port: 81, name: b, nodePort: 30000}]",
        "spec.ports: two entries with nodePort \"30000\" and protocol TCP",
    );
    check_refused("clusterIP: 10.0.0", "spec.clusterIPs[0]: \"10.0.0\" is not an IP address");
    check_refused(
        "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
        "spec.clusterIPs[0]: \"10.0.0.2\" is not spec.clusterIP \"10.0.0.1\", as it must be",
    );
    check_refused(
        "ipFamilies: [IPv6]",
        "spec.clusterIPs[0]: 10.0.0.1 is not of the family spec.ipFamilies[0] says",
    );
    check_refused("type: Headless", "spec.type: \"Headless\" is not a Service type");
    check_refused("type: ExternalName", "spec.externalName: is missing, and the type is ExternalName");
    check_refused("sessionAffinity: Cookie", "spec.sessionAffinity: \"Cookie\" is neither ClientIP nor None");
    check_refused(
        "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is not in 1 to 86400",
    );
    check_refused(
        "internalTrafficPolicy: local",
        "spec.internalTrafficPolicy: \"local\" is neither Cluster nor Local",
    );
    check_refused(
        "publishNotReadyAddresses: yes",
        "spec.publishNotReadyAddresses: cannot be read: invalid boolean (true or false expected)",
    );
    check_refused("healthCheckNodePort: 70000", "spec.healthCheckNodePort: 70000 is not a port (1 to 65535)");
}

#[test]
fn one_port_number_in_two_protocols_is_two_ports() {
    let ports = "ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}, {port: 53, name: c, protocol: SCTP}]";
    check(ports, |s| s.ports.iter().map(|port| port.protocol).collect::<Vec<_>>(), "[Tcp, Udp, Sctp]");
}

/// An object as the API server hands it out; nothing is defaulted.
#[test]
fn without_families_only_the_first_cluster_ip_counts() {
    let check = |families: &[&str], expected: &str| {
        let object = serde_json::json!({
            "metadata": {"name": "a", "namespace": "n"},
            "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": families},
        });
        let service = convert::service(&serde_json::from_value(object).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!(format!("{:?}", service.cluster_ips), expected, "{families:?}");
    };
    check(&[], "[10.0.0.1]");
    check(&["IPv4"], "[10.0.0.1]");
    check(&["IPv4", "IPv6"], "[10.0.0.1, fd00::1]");
}
