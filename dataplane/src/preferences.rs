//! What a Service asks of the dataplane by annotations under `seaway.io/`.
//!
//! | annotation | value |
//! |---|---|
//! | `algorithm` | `random`, `maglev`, `round-robin`, `least-connections` or `source-hash` |
//! | `forwarding` | `nat` or `dsr` (endpoints on other nodes answer the client themselves) |
//! | `weights` | `NODE=WEIGHT` or `ADDRESS=WEIGHT`, separated by commas; 0 to 100, the rest is 1 |
//!
//! A wrong value is reported, and counts as if it were not there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use seaway_cluster::{Endpoint, Service};
use seaway_common::Algorithm;

use crate::site::Algorithms;

/// Largest weight of an endpoint.
pub const WEIGHT_MAX: u8 = 100;

/// Names of the algorithms, as annotations, flags and tables spell them.
pub const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("random", Algorithm::Random),
    ("maglev", Algorithm::Maglev),
    ("round-robin", Algorithm::RoundRobin),
    ("least-connections", Algorithm::LeastConnections),
    ("source-hash", Algorithm::SourceHash),
];

/// A Service's wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// For clients inside and outside; `None` is the default of each.
    pub algorithm: Option<Algorithm>,
    /// Direct server return.
    pub dsr: bool,
    /// Weights by node name or address.
    pub weights: BTreeMap<String, u8>,
    /// What could not be followed.
    pub warnings: Vec<String>,
}

impl Preferences {
    /// Of a Service.
    pub fn of(service: &Service) -> Self {
        let mut found = Self::default();
        let value = |name: &str| service.annotations.get(name).map(|value| value.trim());
        if let Some(text) = value("algorithm") {
            found.algorithm = algorithm(text);
            if found.algorithm.is_none() {
                let known = ALGORITHMS.map(|(name, _)| name).join(", ");
                found.warn(service, "algorithm", text, &format!("the default is used; known are {known}"));
            }
        }
        match value("forwarding") {
            None | Some("nat") => {}
            Some("dsr") => found.dsr = true,
            Some(text) => found.warn(service, "forwarding", text, "nat is used; known are nat and dsr"),
        }
        for entry in value("weights").into_iter().flat_map(|text| text.split(',')) {
            let pair = entry.trim().rsplit_once('=');
            let weight = |text: &str| text.parse().ok().filter(|weight: &u8| *weight <= WEIGHT_MAX);
            match pair.and_then(|(name, text)| Some((name, weight(text)?))) {
                Some((name, weight)) => _ = found.weights.insert(canonical(name), weight),
                None => found.warn(service, "weights", entry, "an entry is NODE=0..100 or ADDRESS=0..100"),
            }
        }
        found
    }

    /// The algorithms of a cluster IP: clients outside are treated like those inside unless the
    /// Service asks for something, so that not every Service needs a table.
    pub fn algorithms(&self, defaults: Algorithms, external: bool) -> Algorithms {
        let outside = if external { defaults.outside } else { defaults.inside };
        let Self { algorithm, .. } = self;
        let (inside, outside) = (algorithm.unwrap_or(defaults.inside), algorithm.unwrap_or(outside));
        Algorithms { inside, outside }
    }

    /// An endpoint's share of the consistent table; its address comes before its node.
    pub fn weight(&self, endpoint: &Endpoint) -> u8 {
        if self.weights.is_empty() {
            return 1;
        }
        let by_node = || endpoint.node().and_then(|node| self.weights.get(node));
        self.weights.get(&endpoint.address.to_string()).or_else(by_node).copied().unwrap_or(1)
    }

    fn warn(&mut self, service: &Service, annotation: &str, value: &str, advice: &str) {
        let name = &service.name;
        self.warnings.push(format!(
            "service {name}: annotation seaway.io/{annotation}: \"{value}\" is unknown; {advice}"
        ));
    }
}

/// The algorithm of a name.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The name of an algorithm.
pub fn name_of(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("random", |(name, _)| name)
}

fn canonical(name: &str) -> String {
    let name = name.trim();
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string())
}
