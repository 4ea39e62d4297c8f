//! Addresses that Services are given, and whose they are.

use std::net::IpAddr;

use seaway_common::{ADDRESS_CLUSTER_IP, ADDRESS_EXTERNAL, ADDRESS_OWN};
use seaway_dataplane::explain::explain;
use seaway_dataplane::site::{Settings, Site};
use seaway_dataplane::sync::{Event, Sync};
use seaway_harness::{Contents, MemoryMaps};
use seaway_tests::facts::{NODE, snapshot_of};

use super::{BOTH, HERE, balanced, check, web};

/// A Service with these external IPs.
fn external(addresses: &str) -> String {
    web("", &format!("externalIPs: [{addresses}], ports: [{{name: http, port: 80}}]"), &BOTH)
}

fn site(addresses: &[&str], allowed: &[&str]) -> Site {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let external_ips = allowed.iter().map(|text| text.parse().unwrap()).collect();
    Settings { addresses, external_ips, ..Settings::default() }.site(NODE)
}

/// The addresses in the map with their bits, the frontends' addresses, and what is warned of.
fn addresses(site: Site, manifests: &str) -> (Vec<(String, u32)>, Vec<String>, Vec<String>) {
    let mut sync = Sync::new(MemoryMaps::default(), site).unwrap();
    let outcome = sync.handle(Event::Facts(snapshot_of(&format!("{HERE}{manifests}"))), 0);
    assert!(outcome.error.is_none());
    let again = sync.handle(Event::Audit, 60_000);
    assert_eq!(again.applied, 0, "an audit changes nothing");
    let contents = Contents::read(sync.maps()).unwrap();
    let text = |addr| IpAddr::from(addr).to_string();
    let bits = contents.addresses.iter().map(|(addr, bits)| (text(*addr), *bits)).collect();
    (bits, contents.frontends.keys().map(|key| text(key.addr)).collect(), outcome.warnings)
}

#[test]
fn addresses_that_every_host_has_are_refused_by_name() {
    let refused = [
        ("127.0.0.1", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("169.254.169.254", "a link-local address"),
        ("224.0.0.5", "a multicast address"),
        ("255.255.255.255", "a broadcast or reserved address"),
    ];
    for (address, why) in refused {
        let warning = format!("service default/web: external IP {address} is not served: it is {why}");
        check(
            &[external(&format!("{address}, 203.0.113.5"))],
            &[
                "10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |",
                "203.0.113.5:80/tcp somewhere outside=maglev -> 10.1.0.1* 10.1.0.2 |",
                &warning,
            ],
        );
        let warning =
            format!("service default/web: load balancer address {address} is not served: it is {why}");
        check(
            &[balanced(&web("", "type: LoadBalancer", &BOTH), address)],
            &["10.96.0.1:80/tcp somewhere -> 10.1.0.1* 10.1.0.2 |", &warning],
        );
    }
}

#[test]
fn external_ips_are_served_where_they_are_allowed() {
    let (_, frontends, warnings) =
        addresses(site(&["192.0.2.1"], &["203.0.113.0/24"]), &external("203.0.113.5, 8.8.8.8"));
    assert_eq!(frontends, ["10.96.0.1", "203.0.113.5"]);
    let refused =
        "service default/web: external IP 8.8.8.8 is not served: it is outside of --allow-external-ips";
    assert_eq!(warnings, [refused]);
}

/// The node answers for an address as a whole only where nobody else has it.
#[test]
fn an_external_address_that_somebody_has_keeps_its_other_ports() {
    let other = "---\napiVersion: v1\nkind: Node\nmetadata: {name: node-2}\nspec: {podCIDRs: [10.9.0.0/24]}\n\
                 status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}\n";
    let manifests = format!("{}{other}", external("192.0.2.1, 192.0.2.2, 10.1.0.2, 10.9.0.7, 203.0.113.5"));
    let (bits, frontends, warnings) = addresses(site(&["192.0.2.1"], &[]), &manifests);
    assert_eq!(frontends, ["10.1.0.2", "10.9.0.7", "10.96.0.1", "192.0.2.1", "192.0.2.2", "203.0.113.5"]);
    let bits: Vec<_> = bits.iter().map(|(addr, bits)| (addr.as_str(), *bits)).collect();
    assert_eq!(
        bits,
        [
            ("10.96.0.1", ADDRESS_CLUSTER_IP),
            ("192.0.2.1", ADDRESS_EXTERNAL | ADDRESS_OWN),
            ("203.0.113.5", ADDRESS_EXTERNAL),
        ]
    );
    assert!(warnings.is_empty());
}

#[test]
fn a_cluster_ip_of_an_interface_of_the_node_is_left_to_it_and_that_is_said() {
    let web = web("", "type: NodePort, ports: [{name: http, port: 80, nodePort: 30080}]", &BOTH);
    let site = site(&["192.0.2.1", "10.96.0.1"], &[]);
    let (bits, frontends, warnings) = addresses(site.clone(), &web);
    assert_eq!(bits, [("10.96.0.1".to_owned(), ADDRESS_OWN)]);
    assert!(!frontends.contains(&"10.96.0.1".to_owned()) && frontends.contains(&"192.0.2.1".to_owned()));
    let left = "service default/web: cluster IP 10.96.0.1 is assigned to an interface of this node (NodeLocal DNS?): \
                traffic to it is left to the node";
    assert_eq!(warnings, [left]);
    let explained = explain(
        &snapshot_of(&format!("{HERE}{web}")),
        site,
        "10.1.0.1".parse().unwrap(),
        "10.96.0.1:80".parse().unwrap(),
        seaway_cluster::Protocol::Tcp,
    );
    let error = explained.unwrap_err().to_string();
    assert!(error.contains("left to the node") && error.contains("default/web"), "{error}");
}

/// A Service that names another's address takes nothing from it, whatever they are called.
#[test]
fn an_address_that_a_user_names_gives_way_to_one_that_was_allocated() {
    let mine =
        web("", "type: NodePort, ports: [{name: http, port: 80, nodePort: 30080}]", &["10.1.0.1 node-1"]);
    let thief = |port: u16, addresses: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: a}}\nspec: {{clusterIP: 10.96.0.66, \
             externalIPs: [{addresses}], ports: [{{port: {port}}}]}}\n"
        )
    };
    for (port, address) in [(80, "10.96.0.1"), (30080, "192.0.2.1")] {
        check(
            &[format!("{mine}{}", thief(port, address))],
            &[
                "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
                &format!("10.96.0.66:{port}/tcp -> |"),
                "192.0.2.1:30080/tcp somewhere outside=maglev -> 10.1.0.1* |",
            ],
        );
    }
    let theirs = balanced(&web("", "type: LoadBalancer", &["10.1.0.1 node-1"]), "203.0.113.5");
    check(
        &[format!("{theirs}{}", thief(80, "203.0.113.5"))],
        &[
            "10.96.0.1:80/tcp somewhere -> 10.1.0.1* |",
            "10.96.0.66:80/tcp -> |",
            "203.0.113.5:80/tcp somewhere outside=maglev -> 10.1.0.1* |",
        ],
    );
}
