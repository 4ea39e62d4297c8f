//! What a change does on its way: who is left alone, who moves, and by how much.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use seaway_common::{ADDRESS_CLUSTER_IP, Capacities};
use seaway_dataplane::sync::{Event, Sync};
use seaway_dataplane::{Maps, Site};
use seaway_harness::{Faults, FaultyMaps, MemoryMaps};
use seaway_tests::facts::{NODE, snapshot_of};

use super::{BOTH, HERE, web};

/// Addresses that Services have, and whether they are told to the programs as such.
#[track_caller]
fn check_addresses(manifest: &str, expected: &[(&str, bool)], ranges: &[(&str, bool)]) {
    let facts = snapshot_of(&format!("{HERE}{manifest}"));
    let mut sync = Sync::new(MemoryMaps::default(), Site::from(NODE)).unwrap();
    assert!(sync.handle(Event::Facts(facts), 0).error.is_none());
    let found: Vec<(IpAddr, bool)> = sync
        .maps()
        .addresses()
        .unwrap()
        .into_iter()
        .map(|(address, bits)| (IpAddr::from(address), bits & ADDRESS_CLUSTER_IP != 0))
        .collect();
    let parsed = |(text, is): &(&str, bool)| (text.parse::<IpAddr>().unwrap(), *is);
    assert_eq!(found, expected.iter().map(parsed).collect::<Vec<_>>());
    let config = sync.maps().config().unwrap();
    for (address, inside) in ranges.iter().map(parsed) {
        assert_eq!(config.in_services(&address.into()), inside, "{address}");
    }
}

#[test]
fn row_13_addresses_of_services_and_their_ranges_are_told() {
    let range = "---\napiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [10.96.0.0/16, 'fd96::/112']}\n";
    let service = web("", "externalIPs: [203.0.113.5]", &BOTH);
    check_addresses(
        &format!("{service}{range}"),
        &[("10.96.0.1", true), ("203.0.113.5", false)],
        &[("10.96.9.9", true), ("fd96::9", true), ("10.97.0.1", false), ("203.0.113.5", false)],
    );
    check_addresses(&service, &[("10.96.0.1", true), ("203.0.113.5", false)], &[("10.96.9.9", false)]);
}

/// One set of manifests after the other; endpoints whose connected UDP sockets are ended by the last.
#[track_caller]
fn check_gone(manifests: &[String], expected: &[&str]) {
    let mut sync = Sync::new(MemoryMaps::default(), Site::from(NODE)).unwrap();
    let mut gone = BTreeSet::new();
    for manifests in manifests {
        let outcome = sync.handle(Event::Facts(snapshot_of(&format!("{HERE}{manifests}"))), 0);
        assert!(outcome.error.is_none());
        gone = outcome.gone_udp;
    }
    assert_eq!(gone, expected.iter().map(|text| text.parse().unwrap()).collect::<BTreeSet<SocketAddr>>());
}

#[test]
fn row_20_udp_endpoints_that_are_gone_are_named_also_the_last_one() {
    let udp = |endpoints: &[&str]| {
        let manifest = web("", "ports: [{name: http, port: 53, protocol: UDP}]", endpoints);
        manifest.replace("{name: http, port: 8080}", "{name: http, port: 8080, protocol: UDP}")
    };
    let other = |manifest: &str| manifest.replace("web", "other").replace("10.96.0.1", "10.96.0.2");
    check_gone(&[udp(&BOTH), udp(&BOTH[..1])], &["10.1.0.2:8080"]);
    check_gone(&[udp(&BOTH), udp(&[])], &["10.1.0.1:8080", "10.1.0.2:8080"]);
    check_gone(&[udp(&[]), udp(&BOTH)], &[]);
    // One that drains keeps its flows; it is gone when it is in no list any more.
    let draining = ["10.1.0.1 node-1", "10.1.0.2 node-2 draining"];
    check_gone(&[udp(&BOTH), udp(&draining)], &[]);
    check_gone(&[udp(&BOTH), udp(&draining), udp(&draining[..1])], &["10.1.0.2:8080"]);
    // Another Service still has it.
    let both = format!("{}{}", udp(&BOTH), other(&udp(&BOTH)));
    check_gone(&[both, format!("{}{}", udp(&BOTH[..1]), other(&udp(&BOTH)))], &[]);
    check_gone(&[web("", "type: ClusterIP", &BOTH), web("", "type: ClusterIP", &[])], &[]);
}

#[test]
fn row_25_a_rolling_update_leaves_no_step_without_a_candidate_and_no_flow_without_its_endpoint() {
    const ENDPOINTS: usize = 10;
    let endpoint = |generation: u32, number: usize, state: &str| {
        format!("10.1.{generation}.{} node-1 {state}", number + 1)
    };
    let maps = FaultyMaps::new(MemoryMaps::default(), Faults::None).with_history();
    let mut sync = Sync::new(maps, Site::from(NODE)).unwrap();
    for policy in ["Cluster", "Local"] {
        for number in 0..=ENDPOINTS {
            // A new one is ready, then an old one drains, then it is gone.
            for phase in 0..3 {
                let mut endpoints: Vec<String> =
                    (0..number.min(ENDPOINTS)).map(|it| endpoint(2, it, "ready")).collect();
                endpoints.extend((number + 1..ENDPOINTS).map(|it| endpoint(1, it, "ready")));
                if number < ENDPOINTS {
                    endpoints.extend((phase > 0).then(|| endpoint(2, number, "ready")));
                    endpoints.extend(
                        (phase < 2)
                            .then(|| endpoint(1, number, if phase == 0 { "ready" } else { "draining" })),
                    );
                }
                let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
                let spec = format!(
                    "type: NodePort, externalTrafficPolicy: {policy}, ports: [{{name: http, port: 80, nodePort: 30080}}]"
                );
                let facts = snapshot_of(&format!("{HERE}{}", web("", &spec, &endpoints)));
                assert!(sync.handle(Event::Facts(facts), 0).error.is_none());
                let serving: BTreeSet<String> = sync
                    .installed()
                    .backends()
                    .values()
                    .map(|backend| IpAddr::from(backend.addr).to_string())
                    .collect();
                let listed: BTreeSet<String> =
                    endpoints.iter().filter_map(|text| text.split(' ').next()).map(str::to_owned).collect();
                assert_eq!(serving, listed);
            }
        }
    }
    for step in sync.maps().history() {
        for (key, frontend) in &step.frontends {
            assert!(!frontend.cluster.is_empty(), "{key:?} leads nowhere:\n{step}");
        }
    }
}

/// For each place of the frontend's table, the endpoint that it leads to.
fn table(sync: &Sync<MemoryMaps>) -> Vec<SocketAddr> {
    let maps = sync.maps();
    let backends: BTreeMap<u32, _> = maps.backends().unwrap().into_iter().collect();
    let (_, value) =
        maps.frontends().unwrap().into_iter().find(|(_, value)| value.cluster_table.len > 1).unwrap();
    let ids = maps.slots(value.cluster_table).unwrap();
    let address = |id: &u32| SocketAddr::new(backends[id].addr.into(), backends[id].port.get());
    ids.iter().map(address).collect()
}

#[test]
fn row_27_tables_are_even_and_one_of_a_hundred_leaving_moves_little() {
    let capacities = Capacities { slots: 1 << 18, backends: 1024, ..MemoryMaps::CAPACITIES };
    let mut sync = Sync::new(MemoryMaps::new(capacities), Site::from(NODE)).unwrap();
    let all: Vec<String> = (1..=100).map(|last| format!("10.1.0.{last} node-{}", last % 7)).collect();
    let maglev = "annotations: {seaway.io/algorithm: maglev}";
    let mut settle = |endpoints: &[&str], now_ms: u64| {
        let facts = snapshot_of(&format!("{HERE}{}", web(maglev, "type: ClusterIP", endpoints)));
        assert!(sync.handle(Event::Facts(facts), now_ms).error.is_none());
        table(&sync)
    };
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let before = settle(&texts, 0);
    let mut shares: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    before.iter().for_each(|address| *shares.entry(*address).or_default() += 1);
    let most = *shares.values().max().unwrap() as f64 * 100.0 / before.len() as f64;
    assert!(shares.len() == 100 && most <= 1.05, "{most}");
    let after = settle(&texts[1..], 10_000);
    assert_eq!(before.len(), after.len());
    let gone = "10.1.0.1:8080".parse().unwrap();
    let moved = before.iter().zip(&after).filter(|(was, now)| **was != gone && was != now).count();
    assert!(moved as f64 / before.len() as f64 <= 0.01, "{moved} of {}", before.len());
    // Back again, everything is as it was: any two nodes agree.
    assert_eq!(settle(&texts, 20_000), before);
}
