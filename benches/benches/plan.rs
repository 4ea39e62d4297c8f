//! How long the agent takes from facts to maps, at 1,000 and 10,000 services of ten endpoints.
//!
//! Everything but the reading of manifests: deriving what should be, planning, and writing the
//! kernel's maps. A restart starts from the maps; with unchanged facts it must write nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use seaway_cluster::{
    AddressFamily, Endpoint, EndpointPort, EndpointSlice, Hints, ObjectName, Protocol, Service, ServicePort,
    ServiceType, SessionAffinity, Snapshot, TargetPort, TrafficPolicy,
};
use seaway_common::Capacities;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_dataplane::sync::{Event, Outcome, Sync};

const ROUNDS: usize = 7;
const ENDPOINTS: u32 = 10;
const SIZES: [u32; 2] = [1_000, 10_000];

fn main() -> Result<()> {
    if !seaway_harness::require_root("plan") {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SERVICES", "WHAT", "MEDIAN", "MIN", "MAX", "MAP OPERATIONS"]);
    for services in SIZES {
        let mut rows: BTreeMap<&str, (Vec<u128>, usize)> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (what, (micros, operations)) in round(services)? {
                let row = rows.entry(what).or_insert_with(|| (Vec::new(), operations));
                row.0.push(micros);
            }
        }
        for (what, (mut micros, operations)) in rows {
            micros.sort_unstable();
            let show = |micros: u128| format!("{}.{:03} ms", micros / 1000, micros % 1000);
            let median = show(micros[micros.len() / 2]);
            let (min, max) = (show(micros[0]), show(micros[micros.len() - 1]));
            table.add_row([services.to_string(), what.to_owned(), median, min, max, operations.to_string()]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    Ok(())
}

/// One agent's life on fresh maps. Times in microseconds, with the map operations.
fn round(services: u32) -> Result<Vec<(&'static str, (u128, usize))>> {
    let programs = Programs::load(&Probe::run()?, &Capacities::DEFAULT, None)?;
    let facts = Arc::new(snapshot(services));
    let mut sync = Sync::new(programs.maps()?, "node-1")?;
    let (cold, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&facts)), 0));
    let mut rows = vec![("1 cold sync", (cold, applied(&outcome)?))];
    let changed = Arc::new(one_endpoint_less(&facts, services / 2));
    let (one, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&changed)), 10_000));
    rows.push(("2 one endpoint goes", (one, applied(&outcome)?)));
    let (read, sync) = timed(|| Sync::new(programs.maps()?, "node-1").map_err(anyhow::Error::from));
    let mut sync = sync?;
    rows.push(("3 restart: read the maps", (read, 0)));
    let (again, outcome) = timed(|| sync.handle(Event::Facts(Arc::clone(&changed)), 20_000));
    ensure!(outcome.applied == 0, "a restart with unchanged facts wrote {} times", outcome.applied);
    rows.push(("4 restart: unchanged facts", (again, applied(&outcome)?)));
    Ok(rows)
}

fn timed<T>(work: impl FnOnce() -> T) -> (u128, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_micros(), result)
}

fn applied(outcome: &Outcome) -> Result<usize> {
    ensure!(outcome.error.is_none() && outcome.full.is_empty(), "the sync failed: {outcome:?}");
    Ok(outcome.applied)
}

fn snapshot(services: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..services {
        let service = service(number);
        let slice = slice(number, ENDPOINTS);
        snapshot.slices.entry(service.name.clone()).or_default().insert(Arc::new(slice));
        snapshot.services.insert(service.name.clone(), Arc::new(service));
    }
    snapshot
}

fn one_endpoint_less(facts: &Snapshot, number: u32) -> Snapshot {
    let mut snapshot = facts.clone();
    let slice = slice(number, ENDPOINTS - 1);
    snapshot.slices.entry(slice.service.clone()).or_default().insert(Arc::new(slice));
    snapshot
}

fn service(number: u32) -> Service {
    Service {
        name: name(number),
        kind: ServiceType::ClusterIp,
        cluster_ips: vec![Ipv4Addr::from_bits(0x0a60_0000 + number).into()],
        headless: false,
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        ingress: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: 0,
            target: TargetPort::Number(8080),
        }],
        selector: BTreeMap::new(),
        affinity: SessionAffinity::None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        distribution: None,
        health_check_node_port: 0,
        publish_not_ready: false,
        foreign_proxy: false,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

fn slice(number: u32, endpoints: u32) -> EndpointSlice {
    let endpoint = |host: u32| Endpoint {
        address: Ipv4Addr::from_bits(0x0a80_0000 + number * ENDPOINTS + host).into(),
        ready: true,
        serving: true,
        terminating: false,
        node: Some("node-2".into()),
        zone: None,
        hostname: None,
        pod: None,
        hints: Hints::default(),
    };
    EndpointSlice {
        name: ObjectName::new("default", format!("service-{number}-1")),
        service: name(number),
        family: AddressFamily::Ipv4,
        ports: vec![EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: (0..endpoints).map(endpoint).collect(),
        headless: false,
    }
}

fn name(number: u32) -> ObjectName {
    ObjectName::new("default", format!("service-{number}"))
}
