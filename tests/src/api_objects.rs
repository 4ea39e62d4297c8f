//! Services and slices as an API server sends them, with what is not read as well.

use serde_json::{Value, json};

/// A Service of namespace `n` with the cluster IP 10.x.y.1 of its number.
pub fn service(number: u32) -> Value {
    json!({
        "kind": "Service",
        "metadata": {
            "namespace": "n", "name": name(number), "uid": format!("uid-{number}"), "generation": 1,
            "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ip(number), "clusterIPs": [cluster_ip(number)],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "selector": {"app": name(number)},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
        "status": {"loadBalancer": {}},
    })
}

/// The slice of a Service with some endpoints, spread over nodes and zones.
pub fn slice(number: u32, endpoints: u32) -> Value {
    let endpoint = |index: u32| {
        json!({
            "addresses": [format!("10.{}.{}.{}", 128 + number / 250, number % 250, 1 + index)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", (number + index) % 100),
            "zone": format!("zone-{}", index % 3),
            "targetRef": {"kind": "Pod", "namespace": "n", "name": format!("{}-{index}", name(number))},
        })
    };
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "n", "name": format!("{}-abcde", name(number)),
            "labels": {"kubernetes.io/service-name": name(number)},
            "ownerReferences": [{"kind": "Service", "name": name(number), "uid": format!("uid-{number}")}],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}

/// A Node with a zone.
pub fn node(name: &str, zone: &str) -> Value {
    json!({"kind": "Node", "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}})
}

/// The name of a numbered Service.
pub fn name(number: u32) -> String {
    format!("svc-{number:05}")
}

/// The cluster IP of a numbered Service.
pub fn cluster_ip(number: u32) -> String {
    format!("10.{}.{}.1", 100 + number / 250, number % 250)
}
