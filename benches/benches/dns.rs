//! Names to answers: the cost of a lookup by kind of name, and of the index behind the names.
//!
//! The cluster has 10,000 Services of 10 endpoints and one headless Service of 100. Memory is what
//! the resident set of the process grew by.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use seaway_cluster::{
    AddressFamily, Endpoint, EndpointPort, EndpointSlice, Labels, Namespace, ObjectName, Protocol, Service,
    ServicePort, ServiceType, SessionAffinity, Snapshot, TargetPort, TrafficPolicy,
};
use seaway_dns::corefile;
use seaway_dns::engine::{Context, Engine, Step};
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::wire::kind;
use seaway_dns::wire::writer::Transport;

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const BIG: u32 = 100;
const COREFILE: &str = ".:53 {\n kubernetes cluster.local in-addr.arpa\n loadbalance\n}\n";
const LOOKUPS: [(&str, &str, u16); 7] = [
    ("hit", "svc-5000.bench.svc.cluster.local.", kind::A),
    ("no data", "svc-5000.bench.svc.cluster.local.", kind::AAAA),
    ("nxdomain", "example.com.bench.svc.cluster.local.", kind::A),
    ("nxdomain, ndots", "example.com.cluster.local.", kind::AAAA),
    ("ptr", "136.19.96.10.in-addr.arpa.", kind::PTR),
    ("a of 100 endpoints", "big.bench.svc.cluster.local.", kind::A),
    ("srv of 100 endpoints", "_http._tcp.big.bench.svc.cluster.local.", kind::SRV),
];

fn lookups(criterion: &mut Criterion) {
    let (engine, _) = serving(&Arc::new(cluster()));
    let mut out = Vec::with_capacity(65_536);
    for (label, name, kind) in LOOKUPS {
        let message = query(name, kind);
        let context = Context::new(Transport::Tcp, 53, Instant::now());
        criterion.bench_function(&format!("dns/lookup/{label}"), |bencher| {
            bencher.iter(|| {
                let step = engine.step(black_box(&message), context, &mut out);
                assert!(matches!(step, Step::Reply(_)));
            });
        });
    }
}

fn index(criterion: &mut Criterion) {
    let snapshot = Arc::new(cluster());
    let before = resident_kb();
    let (engine, mut feed) = serving(&snapshot);
    println!("dns/index: {} kB for {SERVICES} services x {ENDPOINTS} endpoints", resident_kb() - before);
    criterion.bench_function("dns/index/build", |bencher| bencher.iter(|| serving(&snapshot)));
    let mut changed = Snapshot::clone(&snapshot);
    let moved = service(7, ServiceType::NodePort, 8080);
    changed.services.insert(moved.name.clone(), Arc::new(moved));
    let states = [Arc::new(changed), snapshot];
    let mut turn = 0;
    criterion.bench_function("dns/index/update of one service", |bencher| {
        bencher.iter(|| {
            turn += 1;
            feed.update(&engine, &states[turn % 2], 1);
        });
    });
}

fn serving(snapshot: &Arc<Snapshot>) -> (Engine, Feed) {
    let blocks = corefile::parse(COREFILE, Path::new(".")).expect("the Corefile is sound");
    let engine = Engine::new(blocks);
    let mut feed = Feed::new(&engine);
    feed.update(&engine, snapshot, 1);
    (engine, feed)
}

fn query(text: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).expect("a name"));
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

fn cluster() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let namespace = Namespace { name: "bench".into(), labels: Labels::default() };
    snapshot.namespaces.insert("bench".into(), Arc::new(namespace));
    for number in 0..SERVICES {
        add(&mut snapshot, service(number, ServiceType::ClusterIp, 80), number * ENDPOINTS, ENDPOINTS);
    }
    let big = Service {
        name: ObjectName::new("bench", "big"),
        cluster_ips: Box::default(),
        headless: true,
        ..service(0, ServiceType::ClusterIp, 80)
    };
    add(&mut snapshot, big, SERVICES * ENDPOINTS, BIG);
    snapshot
}

fn add(snapshot: &mut Snapshot, service: Service, first: u32, endpoints: u32) {
    let name = service.name.clone();
    let slice = EndpointSlice {
        name: ObjectName::new(name.namespace.clone(), format!("{}-1", name.name)),
        service: name.clone(),
        family: AddressFamily::Ipv4,
        ports: [EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }].into(),
        endpoints: (first..first + endpoints).map(endpoint).collect(),
        headless: false,
        cluster: None,
    };
    snapshot.slices.entry(name.clone()).or_default().insert(Arc::new(slice));
    snapshot.services.insert(name, Arc::new(service));
}

fn service(number: u32, kind: ServiceType, port: u16) -> Service {
    let port = ServicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port,
        node_port: 0,
        target: TargetPort::Number(8080),
    };
    Service {
        name: ObjectName::new("bench", format!("svc-{number}")),
        kind,
        cluster_ips: [address(Ipv4Addr::new(10, 96, 0, 0), number)].into(),
        headless: false,
        external_ips: Box::default(),
        load_balancer_ips: Box::default(),
        ingress: Box::default(),
        source_ranges: Box::default(),
        ports: [port].into(),
        selector: Labels::default(),
        affinity: SessionAffinity::None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        distribution: None,
        health_check_node_port: 0,
        publish_not_ready: false,
        foreign_proxy: false,
        labels: Labels::default(),
        annotations: Labels::default(),
    }
}

fn endpoint(number: u32) -> Endpoint {
    Endpoint {
        address: address(Ipv4Addr::new(10, 128, 0, 0), number),
        ready: true,
        serving: true,
        terminating: false,
        hostname: None,
        pod: Some(format!("pod-{number}").into()),
        locality: None,
    }
}

fn address(first: Ipv4Addr, number: u32) -> IpAddr {
    Ipv4Addr::from(first.to_bits() + number).into()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

criterion_group!(benches, index, lookups);
criterion_main!(benches);
