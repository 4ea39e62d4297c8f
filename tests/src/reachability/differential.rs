//! The same manifest, once with Seaway on n1 and once with nftables rules of kube-proxy's shape: who
//! reaches what, who answers, and with which source, has to be the same.

use std::{collections::BTreeMap, net::SocketAddr, thread};

use seaway_lab::probe::{Outcome, Probe, Transport};
use serde_json::Value;

use super::{
    facts::Facts,
    nft_rules::{self, Served},
    observation::Observation,
    places::Place,
    site::Site,
};

/// Attempts of a question that is answered: of two endpoints, one is missed once in a hundred million.
const ATTEMPTS: u32 = 28;
const TCP_TIMEOUT_MS: u64 = 1400;
const UDP_TIMEOUT_MS: u64 = 800;
const SIZE: usize = 200;
const MANIFEST: &str = "services.json";
const FROM: [Place; 6] = [Place::Client, Place::Client2, Place::PodL1, Place::PodL2, Place::PodR1, Place::N1];
/// What no Service has: a port of a cluster IP, an address of the Services' range, a node port.
const NOBODY: [&str; 6] = [
    "10.96.20.1:81",
    "[fd96::20:3]:81",
    "10.96.200.200:80",
    "[fd96::ffff]:80",
    "172.18.0.1:32767",
    "[fd18::1]:32767",
];

type Seen = BTreeMap<(Place, SocketAddr, &'static str), String>;

/// What came of the questions.
#[derive(Debug)]
pub struct Comparison {
    /// How many were asked.
    pub questions: usize,
    /// How many were answered by an endpoint, with Seaway.
    pub answered: usize,
    /// Where the two do not agree, a line each.
    pub differences: Vec<String>,
}

/// Asks everything of this manifest's Services from everywhere, both ways.
///
/// # Panics
/// When a topology cannot be built, or a proxy does not start.
#[must_use]
pub fn compare(objects: &[Value]) -> Comparison {
    let services = nft_rules::served(objects);
    let (seaway, nftables) = thread::scope(|scope| {
        let seaway = scope.spawn(|| with_seaway(objects, &services));
        let nftables = scope.spawn(|| with_nftables(&services));
        (seaway.join().expect("the half with Seaway"), nftables.join().expect("the half with nftables"))
    });
    let differences = seaway.iter().filter_map(|(question, seen)| {
        let (from, to, protocol) = question;
        let other = &nftables[question];
        (!agree(seen, other)).then(|| format!("{from} > {to}/{protocol}: {seen}; with nftables: {other}"))
    });
    Comparison {
        questions: seaway.len(),
        answered: seaway.values().filter(|seen| seen.starts_with("ok")).count(),
        differences: differences.collect(),
    }
}

/// A process on the node whose packet a rule drops or rejects gets an error from its own call, whichever
/// of the two it is; with Seaway it gets what a pod gets.
fn agree(seaway: &str, nftables: &str) -> bool {
    seaway == nftables
        || keeps_the_client(seaway, nftables)
        || (nftables.starts_with("Operation not permitted") && !seaway.starts_with("ok"))
}

/// The same endpoints, but those on the node saw the client itself instead of the node: only flows to other
/// nodes are masqueraded.
fn keeps_the_client(seaway: &str, nftables: &str) -> bool {
    let (Some((seaway, sources)), Some((nftables, "n1"))) =
        (seaway.split_once(" as "), nftables.split_once(" as "))
    else {
        return false;
    };
    seaway == nftables
        && sources.split(", ").all(|source| source == "n1" || source.parse::<std::net::IpAddr>().is_ok())
}

fn with_seaway(objects: &[Value], services: &[Served]) -> Seen {
    let site = Site::build();
    let mut facts = Facts::default();
    facts.apply(objects);
    site.setup.write(MANIFEST, &facts.manifest());
    let mut agent = site.setup.start(site.n1());
    let seen = ask_all(&site, services);
    let warnings = agent.status().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
    let status = agent.terminate();
    assert!(status.success(), "the agent ended with {status}");
    seen
}

fn with_nftables(services: &[Served]) -> Seen {
    let site = Site::build();
    nft_rules::load(site.n1(), services);
    ask_all(&site, services)
}

/// From all places at once: most of the time is waiting.
fn ask_all(site: &Site, services: &[Served]) -> Seen {
    let nobody = NOBODY.map(|text| text.parse::<SocketAddr>().expect("an address"));
    let nobody = nobody.into_iter().flat_map(|to| [(to, Transport::Tcp), (to, Transport::Udp)]);
    let frontends = services.iter().flat_map(Served::frontends).map(|(address, port, protocol)| {
        let transport = if protocol == "TCP" { Transport::Tcp } else { Transport::Udp };
        (SocketAddr::new(address, port), transport)
    });
    let questions: Vec<_> = frontends.chain(nobody).collect();
    let questions = &questions[..];
    thread::scope(|scope| {
        let places = FROM.map(|place| scope.spawn(move || ask_from(site, place, questions)));
        places.into_iter().flat_map(|place| place.join().expect("a place's questions")).collect()
    })
}

fn ask_from(site: &Site, place: Place, questions: &[(SocketAddr, Transport)]) -> Seen {
    let mut prober = site.prober(place);
    let ask = |(to, transport): &(SocketAddr, Transport)| {
        let (protocol, timeout_ms) =
            if *transport == Transport::Tcp { ("tcp", TCP_TIMEOUT_MS) } else { ("udp", UDP_TIMEOUT_MS) };
        let from = place.source(to.is_ipv4()).map(|own| (own, 0).into());
        let probe = Probe { transport: *transport, to: *to, from, flow: None, size: SIZE, timeout_ms };
        let mut seen = Observation::default();
        for _ in 0..ATTEMPTS {
            let outcome = prober.ask(&probe).unwrap_or_else(|error| panic!("{error}"));
            seen.add(&outcome, *to, None);
            if !matches!(outcome, Outcome::Answered { .. }) {
                break; // Waiting for nothing takes long.
            }
        }
        ((place, *to, protocol), seen.in_short())
    };
    questions.iter().map(ask).collect()
}
