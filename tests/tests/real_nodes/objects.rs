//! Objects that an API server stores and nobody expects.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The objects as one manifest, and for each address who answers there, or what happens instead.
pub(crate) fn odd() -> (String, Vec<(&'static str, SocketAddr, &'static str)>) {
    let mut objects = Vec::new();
    let mut add = |name: &str, spec: Value, slices: &[Value]| {
        let metadata = json!({"name": name, "namespace": "default"});
        objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        for (number, slice) in slices.iter().enumerate() {
            let mut slice = slice.clone();
            let labels = json!({"kubernetes.io/service-name": name});
            let metadata =
                json!({"name": format!("{name}-{number}"), "namespace": "default", "labels": labels});
            slice["metadata"] = metadata;
            objects.push(slice);
        }
    };
    let one = json!([{"addresses": ["10.1.1.111"]}]);
    let plain = json!([{"name": "", "protocol": "TCP", "port": 80}]);
    let ip = |address: &str| json!({"clusterIP": address, "ports": [{"port": 80}]});
    add(
        "nullport",
        ip("10.96.1.1"),
        &[slice("IPv4", &one, &json!([{"name": "", "protocol": "TCP", "port": null}]))],
    );
    add("noname", ip("10.96.1.2"), &[slice("IPv4", &one, &json!([{"port": 80}]))]);
    add("noports", ip("10.96.1.3"), &[slice("IPv4", &one, &json!([]))]);
    add("nullports", ip("10.96.1.4"), &[slice("IPv4", &one, &Value::Null)]);
    add(
        "fqdn",
        ip("10.96.1.5"),
        &[slice("FQDN", &json!([{"addresses": ["db.example"]}]), &plain), slice("IPv4", &one, &plain)],
    );
    let twice = json!([
        {"addresses": ["10.1.1.111"], "conditions": {"ready": true}},
        {"addresses": ["10.1.1.112"], "conditions": {"ready": false, "serving": false, "terminating": true}},
    ]);
    add("dup", ip("10.96.1.6"), &[slice("IPv4", &one, &plain), slice("IPv4", &twice, &plain)]);
    let unset = json!([
        {"addresses": ["10.1.1.111"]},
        {"addresses": ["10.1.1.112"], "conditions": {"ready": null, "serving": null, "terminating": null}},
    ]);
    add("nil", ip("10.96.1.7"), &[slice("IPv4", &unset, &plain)]);
    let mixed = json!([{"addresses": ["fd00:1::111"]}, {"addresses": ["10.1.1.112"]}]);
    add("mixed", ip("10.96.1.8"), &[slice("IPv4", &mixed, &plain)]);
    let claimed =
        |own: &str| json!({"clusterIP": own, "externalIPs": ["198.51.100.7"], "ports": [{"port": 80}]});
    add("claim-b", claimed("10.96.1.9"), &[slice("IPv4", &json!([{"addresses": ["10.1.1.112"]}]), &plain)]);
    add("claim-a", claimed("10.96.1.10"), &[slice("IPv4", &one, &plain)]);
    let (long, port) = ("s".repeat(63), "p".repeat(63));
    add(
        &long,
        json!({"clusterIP": "10.96.1.11", "ports": [{"port": 80, "name": port}]}),
        &[slice("IPv4", &one, &json!([{"name": port, "protocol": "TCP", "port": 80}]))],
    );
    add("zeros", ip("10.096.001.014"), &[slice("IPv4", &json!([{"addresses": ["10.001.001.111"]}]), &plain)]);
    let order = json!({"clusterIP": "fd96::1:15", "clusterIPs": ["fd96::1:15", "10.96.1.15"], "ipFamilies": ["IPv6", "IPv4"],
        "ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]});
    let one_v6 = json!([{"addresses": ["fd00:1::111"]}]);
    add("order", order, &[slice("IPv4", &one, &plain), slice("IPv6", &one_v6, &plain)]);
    let renamed = json!({"clusterIP": "10.96.1.30", "ports": [{"port": 80, "name": "new"}]});
    add("renamed", renamed, &[slice("IPv4", &one, &json!([{"name": "old", "protocol": "TCP", "port": 80}]))]);
    add(
        "edge",
        json!({"clusterIP": "10.96.1.32", "ports": [{"port": 65535}]}),
        &[slice("IPv4", &one, &plain)],
    );
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    (list, rows())
}

fn rows() -> Vec<(&'static str, SocketAddr, &'static str)> {
    [
        ("nullport", "10.96.1.1:80", "Refused"),
        ("noname", "10.96.1.2:80", "p1"),
        ("noports", "10.96.1.3:80", "Refused"),
        ("nullports", "10.96.1.4:80", "Refused"),
        ("fqdn", "10.96.1.5:80", "p1"),
        ("dup", "10.96.1.6:80", "p1"),
        ("nil", "10.96.1.7:80", "p1 p2"),
        ("mixed", "10.96.1.8:80", "p2"),
        ("claim, the first by name", "198.51.100.7:80", "p1"),
        ("long names", "10.96.1.11:80", "p1"),
        ("leading zeros", "10.96.1.14:80", "p1"),
        ("families in another order, IPv4", "10.96.1.15:80", "p1"),
        ("families in another order, IPv6", "[fd96::1:15]:80", "p1"),
        ("a port that was renamed", "10.96.1.30:80", "Refused"),
        ("the last port", "10.96.1.32:65535", "p1"),
    ]
    .map(|(what, to, expected)| (what, to.parse().expect("an address"), expected))
    .into()
}

fn slice(family: &str, endpoints: &Value, ports: &Value) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "endpoints": endpoints, "ports": ports})
}
