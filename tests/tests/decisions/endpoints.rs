//! Which endpoints a frontend leads to, and how one of them is chosen.

use super::{BOTH, NODE_PORT, check, web};

#[test]
fn row_07_affinity_is_of_the_service_port_and_can_be_switched() {
    let with = |spec: &str| web("", &format!("externalIPs: [203.0.113.5], {spec}"), &["10.1.0.1 node-1"]);
    check(
        &[with("sessionAffinity: ClientIP")],
        &[
            "10.96.0.1:80/tcp somewhere affinity=10800s -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev affinity=10800s -> 10.1.0.1* |",
        ],
    );
    check(
        &[with("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}")],
        &[
            "10.96.0.1:80/tcp somewhere affinity=10s -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev affinity=10s -> 10.1.0.1* |",
        ],
    );
    check(
        &[with("sessionAffinity: ClientIP"), with("sessionAffinity: None")],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
            "203.0.113.5:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
        ],
    );
}

#[test]
fn row_08_external_policy_local_narrows_external_frontends_alone() {
    let local = format!("externalTrafficPolicy: Local, {NODE_PORT}");
    check(
        &[web("", &local, &BOTH)],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 | 10.1.0.1*",
            "192.0.2.1:30080/tcp external-local somewhere outside=maglev -> 10.1.0.1* 10.1.0.2 | 10.1.0.1*",
        ],
    );
    // Endpoints elsewhere only: the list is empty, and is known to be not all.
    check(
        &[web("", &local, &["10.1.0.2 node-2"])],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.2 |",
            "192.0.2.1:30080/tcp external-local somewhere outside=maglev -> 10.1.0.2 |",
        ],
    );
}

#[test]
fn row_09_internal_policy_local_narrows_the_cluster_ip_alone() {
    check(
        &[web("", &format!("internalTrafficPolicy: Local, {NODE_PORT}"), &BOTH)],
        &[
            "10.96.0.1:80/tcp internal-local somewhere -> 10.1.0.1* 10.1.0.2 | 10.1.0.1*",
            "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* 10.1.0.2 | 10.1.0.1*",
        ],
    );
    check(
        &[web("", "internalTrafficPolicy: Local", &["10.1.0.2 node-2"])],
        &["10.96.0.1:80/tcp internal-local somewhere -> |"],
    );
}

#[test]
fn row_10_terminating_endpoints_are_candidates_where_no_other_is() {
    let drained =
        |policy: &str, endpoints: &[&str]| web("", &format!("internalTrafficPolicy: {policy}"), endpoints);
    check(
        &[drained("Cluster", &["10.1.0.1 node-1 draining", "10.1.0.2 node-2"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.2 |"],
    );
    check(
        &[drained("Cluster", &["10.1.0.1 node-1 draining", "10.1.0.2 node-2 unready"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* |"],
    );
    // Ready ones elsewhere do not count for the node's own list.
    check(
        &[drained("Local", &["10.1.0.1 node-1 draining", "10.1.0.2 node-2"])],
        &["10.96.0.1:80/tcp internal-local somewhere -> | 10.1.0.1*"],
    );
    check(
        &[drained("Local", &["10.1.0.1 node-1 draining", "10.1.0.3 node-1"])],
        &["10.96.0.1:80/tcp internal-local somewhere -> | 10.1.0.3*"],
    );
}

#[test]
fn row_14_hints_narrow_the_cluster_list_if_all_have_them() {
    let hinted = |endpoints: &[&str]| web("", "type: ClusterIP", endpoints);
    check(
        &[hinted(&["10.1.0.1 node-1 zone=zb", "10.1.0.2 node-2 zone=za"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.2 |"],
    );
    check(
        &[hinted(&["10.1.0.1 node-1 zone=za", "10.1.0.2 node-2"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |"],
    );
    check(
        &[hinted(&["10.1.0.1 node-1 zone=za for=node-2", "10.1.0.2 node-2 zone=zb for=node-1"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.2 |"],
    );
    check(
        &[hinted(&["10.1.0.1 node-1 zone=za for=node-3", "10.1.0.2 node-2 zone=zb for=node-2"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* |"],
    );
    // Not for those that stand in for them.
    check(
        &[hinted(&["10.1.0.1 node-1 draining zone=zb", "10.1.0.2 node-2 draining zone=za"])],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |"],
    );
}

#[test]
fn row_37_the_algorithm_is_the_services_or_the_default_of_its_direction() {
    let chosen = |name: &str| {
        web(&format!("annotations: {{seaway.io/algorithm: {name}}}"), NODE_PORT, &["10.1.0.1 node-1"])
    };
    for name in ["maglev", "round-robin", "least-connections", "source-hash"] {
        let line =
            |frontend: &str| format!("{frontend}/tcp somewhere inside={name} outside={name} -> 10.1.0.1* |");
        check(&[chosen(name)], &[&line("10.96.0.1:80"), &line("192.0.2.1:30080")]);
    }
    check(
        &[chosen("fastest")],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
            "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* |",
            "service default/web: annotation seaway.io/algorithm: \"fastest\" is unknown; the default is used; known are random, maglev, round-robin, least-connections, source-hash",
        ],
    );
    check(
        &[chosen("fastest"), chosen("random")],
        &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* |", "192.0.2.1:30080/tcp somewhere -> 10.1.0.1* |"],
    );
}
