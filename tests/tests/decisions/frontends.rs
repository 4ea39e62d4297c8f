//! Which frontends there are, and what guards them.

use super::{BOTH, NODE_PORT, balanced, check, web};

#[test]
fn row_01_every_port_of_a_service_leads_to_its_own_endpoints() {
    check(
        &[web("", "ports: [{name: http, port: 80}, {name: more, port: 81}]", &BOTH)],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |", "10.96.0.1:81/tcp -> |"],
    );
}

#[test]
fn row_02_one_port_in_two_protocols_is_two_ports() {
    let ports = "ports: [{name: http, port: 53}, {name: udp, port: 53, protocol: UDP}]";
    let udp = web("", ports, &BOTH).replace(
        "ports: [{name: http, port: 8080}]",
        "ports: [{name: http, port: 8080}, {name: udp, port: 8053, protocol: UDP}]",
    );
    check(
        &[udp],
        &[
            "10.96.0.1:53/tcp somewhere -> 10.1.0.1* 10.1.0.2 |",
            "10.96.0.1:53/udp somewhere -> 10.1.0.1:8053* 10.1.0.2:8053 |",
        ],
    );
}

#[test]
fn row_05_types_change_in_both_directions() {
    let name = web("", "type: ExternalName, externalName: example.com", &[]);
    let cluster_ip = || web("", "type: ClusterIP", &BOTH);
    let node_port = || web("", NODE_PORT, &BOTH);
    check(&[cluster_ip(), name.clone()], &[]);
    check(&[name.clone(), cluster_ip()], &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |"]);
    check(
        &[name.clone(), node_port()],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |",
            "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* 10.1.0.2 |",
        ],
    );
    check(&[node_port(), name], &[]);
    check(&[node_port(), cluster_ip()], &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |"]);
}

#[test]
fn row_12_without_endpoints_nothing_is_left_to_lead_to() {
    check(&[web("", NODE_PORT, &[])], &["10.96.0.1:80/tcp -> |", "192.0.2.1:30080/tcp outside=maglev -> |"]);
    check(
        &[web("", NODE_PORT, &["10.1.0.1 node-1 unready"])],
        &["10.96.0.1:80/tcp -> |", "192.0.2.1:30080/tcp outside=maglev -> |"],
    );
    check(
        &[web("", NODE_PORT, &BOTH), web("", NODE_PORT, &[])],
        &["10.96.0.1:80/tcp -> |", "192.0.2.1:30080/tcp outside=maglev -> |"],
    );
}

#[test]
fn row_15_source_ranges_guard_the_load_balancers_addresses_alone() {
    let ranges = |ranges: &str| {
        let spec = format!(
            "loadBalancerSourceRanges: [{ranges}], externalIPs: [203.0.113.5], type: LoadBalancer, ports: [{{name: http, port: 80, nodePort: 30080}}]"
        );
        balanced(&web("", &spec, &["10.1.0.1 node-1"]), "198.51.100.9")
    };
    check(
        &[ranges("192.0.2.77/24, 10.0.0.0/8")],
        &[
            "10.96.0.1:80/tcp somewhere from=10.0.0.0/8 from=192.0.2.0/24 -> 10.1.0.1* |",
            "192.0.2.1:30080/tcp somewhere outside=maglev from=10.0.0.0/8 from=192.0.2.0/24 -> 10.1.0.1* |",
            "198.51.100.9:80/tcp guarded somewhere outside=maglev from=10.0.0.0/8 from=192.0.2.0/24 -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev from=10.0.0.0/8 from=192.0.2.0/24 -> 10.1.0.1* |",
        ],
    );
    check(
        &[ranges("'fd00::/8'")],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
            "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* |",
            "198.51.100.9:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
        ],
    );
    check(
        &[ranges("10.0.0.0/8, 0.0.0.0/0")],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
            "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* |",
            "198.51.100.9:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
        ],
    );
    check(
        &[ranges("10.0.0.0/8"), ranges("172.16.0.0/12")],
        &[
            "10.96.0.1:80/tcp somewhere from=172.16.0.0/12 -> 10.1.0.1* |",
            "192.0.2.1:30080/tcp somewhere outside=maglev from=172.16.0.0/12 -> 10.1.0.1* |",
            "198.51.100.9:80/tcp guarded somewhere outside=maglev from=172.16.0.0/12 -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev from=172.16.0.0/12 -> 10.1.0.1* |",
        ],
    );
}

#[test]
fn row_24_foreign_and_headless_services_have_no_frontend() {
    let label = "labels: {service.kubernetes.io/service-proxy-name: ''}";
    check(&[web(label, NODE_PORT, &BOTH)], &[]);
    check(&[web("", "clusterIP: None", &BOTH)], &[]);
    check(&[web("", NODE_PORT, &BOTH), web(label, NODE_PORT, &BOTH)], &[]);
    let headless = web("", "type: ClusterIP", &BOTH)
        .replace("service-name: web}", "service-name: web, service.kubernetes.io/headless: ''}");
    check(&[headless], &["10.96.0.1:80/tcp -> |"]);
}

#[test]
fn row_34_a_named_target_port_is_what_each_pod_calls_so() {
    let pod = |name: &str, ip: &str, port: u16| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}}}\nspec: {{nodeName: node-1, containers: [{{name: c, ports: [{{name: web, containerPort: {port}}}]}}]}}\n\
             status: {{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: 'True'}}]}}\n"
        )
    };
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80, targetPort: web}]}\n";
    let pods =
        |second: u16| format!("{service}{}{}", pod("a", "10.1.0.1", 8080), pod("b", "10.1.0.2", second));
    check(&[pods(9090)], &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2:9090* |"]);
    check(&[pods(9090), pods(7070)], &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2:7070* |"]);
}
