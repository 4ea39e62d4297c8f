//! Slices as they are grouped and joined, beyond what the vectors show.

use std::net::SocketAddr;
use std::sync::Arc;

use seaway_cluster::{
    AddressFamily, EndpointPort, EndpointSlice, ObjectName, Protocol, SliceIndex, Snapshot, convert,
};

/// The slice `n/NAME` of a Service, with one endpoint and the port `http`.
fn slice(name: &str, service: &str, address: &str) -> EndpointSlice {
    let object = serde_json::json!({
        "metadata": {"name": name, "namespace": "n", "labels": {"kubernetes.io/service-name": service}},
        "addressType": if address.contains(':') { "IPv6" } else { "IPv4" },
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [address], "nodeName": "n1"}],
    });
    convert::endpoint_slice(&serde_json::from_value(object).unwrap(), &mut Vec::new()).unwrap().unwrap()
}

/// The addresses behind each Service, in order.
fn check(index: &SliceIndex, family: AddressFamily, expected: &[(&str, &[&str])]) {
    let snapshot = Snapshot { slices: index.slices().clone(), ..Snapshot::default() };
    let mut found = Vec::new();
    for service in snapshot.slices.keys() {
        for (key, endpoints) in snapshot.endpoints_by_port(service, family) {
            let addresses: Vec<SocketAddr> = endpoints.iter().map(|joined| joined.address).collect();
            found.push((format!("{service}:{}/{}", key.name, key.protocol), addresses));
        }
    }
    let parsed = expected.iter().map(|(key, addresses)| {
        (key.to_string(), addresses.iter().map(|address| address.parse().unwrap()).collect())
    });
    assert_eq!(found, parsed.collect::<Vec<_>>());
}

#[test]
fn a_slice_follows_its_label_and_goes_by_its_name() {
    let mut index = SliceIndex::default();
    let name = ObjectName::new("n", "s1");
    index.insert(Arc::new(slice("s1", "web", "10.0.0.1")));
    index.insert(Arc::new(slice("s2", "web", "10.0.0.2")));
    check(&index, AddressFamily::Ipv4, &[("n/web:http/TCP", &["10.0.0.1:80", "10.0.0.2:80"])]);
    index.insert(Arc::new(slice("s1", "api", "10.0.0.1")));
    check(
        &index,
        AddressFamily::Ipv4,
        &[("n/api:http/TCP", &["10.0.0.1:80"]), ("n/web:http/TCP", &["10.0.0.2:80"])],
    );
    index.remove(&ObjectName::new("other", "s1"));
    index.remove(&name);
    check(&index, AddressFamily::Ipv4, &[("n/web:http/TCP", &["10.0.0.2:80"])]);
    index.remove(&ObjectName::new("n", "s2"));
    assert!(index.slices().is_empty());
}

#[test]
fn headless_slices_and_the_other_family_are_not_joined() {
    let mut index = SliceIndex::default();
    index.insert(Arc::new(slice("a", "web", "10.0.0.1")));
    index.insert(Arc::new(slice("b", "web", "fd00::1")));
    index.insert(Arc::new(EndpointSlice { headless: true, ..slice("c", "web", "10.0.0.3") }));
    check(&index, AddressFamily::Ipv4, &[("n/web:http/TCP", &["10.0.0.1:80"])]);
    check(&index, AddressFamily::Ipv6, &[("n/web:http/TCP", &["[fd00::1]:80"])]);
}

#[test]
fn addresses_are_in_numeric_order_and_one_name_in_two_protocols_is_two_ports() {
    let mut index = SliceIndex::default();
    let udp = EndpointPort { name: "http".into(), protocol: Protocol::Udp, port: 81 };
    index.insert(Arc::new(slice("a", "web", "10.0.0.10")));
    index.insert(Arc::new(slice("b", "web", "10.0.0.9")));
    index.insert(Arc::new(EndpointSlice { ports: [udp].into(), ..slice("c", "web", "10.0.0.1") }));
    check(
        &index,
        AddressFamily::Ipv4,
        &[("n/web:http/TCP", &["10.0.0.9:80", "10.0.0.10:80"]), ("n/web:http/UDP", &["10.0.0.1:81"])],
    );
}
