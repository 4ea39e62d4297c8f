//! Which endpoints are eligible.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use seaway_cluster::{Endpoint, Hints, JoinedEndpoint, Locality};
use seaway_dataplane::policy::{Place, Standing, Topology, Uses, standings, usable_somewhere};
use serde::Deserialize;

use super::Verdict;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyCase {
    id: String,
    node: String,
    zone: String,
    service: ServiceFacts,
    endpoints: Vec<EndpointFacts>,
    cluster: BTreeSet<String>,
    local: BTreeSet<String>,
    all_reachable: BTreeSet<String>,
    has_any: bool,
    uses_cluster: bool,
    uses_local: bool,
    mode: String,
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFacts {
    internal: String,
    external: String,
    externally_accessible: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointFacts {
    address: String,
    node: String,
    ready: bool,
    serving: bool,
    terminating: bool,
    zone_hints: Vec<String>,
    node_hints: Vec<String>,
}

/// What a case expects, or what was found.
#[derive(Debug, PartialEq, Eq)]
struct Lists {
    cluster: BTreeSet<String>,
    local: BTreeSet<String>,
    all_reachable: BTreeSet<String>,
    has_any: bool,
    uses: (bool, bool),
    mode: String,
}

pub(super) fn check(case: &PolicyCase) -> Verdict {
    let expected = Lists {
        cluster: case.cluster.clone(),
        local: case.local.clone(),
        all_reachable: case.all_reachable.clone(),
        has_any: case.has_any,
        uses: (case.uses_cluster, case.uses_local),
        mode: case.mode.clone(),
    };
    Verdict::of(&expected, &decide(case))
}

fn decide(case: &PolicyCase) -> Lists {
    let ServiceFacts { internal, external, externally_accessible } = &case.service;
    let local = |policy: &str| match policy {
        "Cluster" => false,
        "Local" => true,
        other => panic!("{}: {other} is not a policy", case.id),
    };
    let (internal, external) = (local(internal), local(external));
    let uses = Uses {
        cluster: !internal || *externally_accessible,
        local: internal || (external && *externally_accessible),
    };
    let endpoints: Vec<(String, Endpoint)> = case.endpoints.iter().map(endpoint).collect();
    let joined: Vec<JoinedEndpoint<'_>> = endpoints
        .iter()
        .map(|(address, endpoint)| JoinedEndpoint {
            address: address.parse().unwrap_or_else(|_| SocketAddr::new(endpoint.address, 0)),
            endpoint,
        })
        .collect();
    let (standings, topology) = standings(Place { node: &case.node, zone: &case.zone }, uses, &joined);
    let list = |pick: fn(&Standing) -> bool| -> BTreeSet<String> {
        let chosen = endpoints.iter().zip(&standings).filter(|(_, standing)| pick(standing));
        chosen.map(|((address, _), _)| address.clone()).collect()
    };
    let mode = match topology {
        Topology::Anywhere => "",
        Topology::SameZone => "PreferSameZone",
        Topology::SameNode => "PreferSameNode",
    };
    Lists {
        cluster: list(|standing| standing.cluster.is_ok()),
        local: list(|standing| standing.local.is_ok()),
        all_reachable: list(|standing| standing.cluster.is_ok() || standing.local.is_ok()),
        has_any: usable_somewhere(&joined),
        uses: (uses.cluster, uses.local),
        mode: mode.to_owned(),
    }
}

fn endpoint(facts: &EndpointFacts) -> (String, Endpoint) {
    let address: SocketAddr =
        facts.address.parse().unwrap_or_else(|error| panic!("{}: {error}", facts.address));
    let names = |list: &[String]| list.iter().map(|name| name.as_str().into()).collect();
    let locality = Locality {
        node: Some(facts.node.as_str().into()).filter(|node: &seaway_cluster::Text| !node.is_empty()),
        zone: None,
        hints: Hints { zones: names(&facts.zone_hints), nodes: names(&facts.node_hints) },
    };
    let endpoint = Endpoint {
        address: address.ip(),
        ready: facts.ready,
        serving: facts.serving,
        terminating: facts.terminating,
        hostname: None,
        pod: None,
        locality: locality.shared(),
    };
    (facts.address.clone(), endpoint)
}
