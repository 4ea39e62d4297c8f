//! Which endpoints are eligible, and why the others are not (kube-proxy `pkg/proxy/topology.go`).
//!
//! Two lists are decided apart. The *cluster* list has the ready endpoints that topology allows,
//! else all that are serving and terminating. The *local* list has this node's ready endpoints,
//! else its serving and terminating ones; topology never narrows it.

use std::fmt;

use seaway_cluster::{Endpoint, JoinedEndpoint};

/// Who asks: the node whose traffic is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// This node's name; empty when unknown, which makes no endpoint local.
    pub node: &'a str,
    /// This node's zone; empty when unknown.
    pub zone: &'a str,
}

/// Which lists a service port uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Some of its traffic goes to any endpoint of the cluster.
    pub cluster: bool,
    /// Some of its traffic stays on the node.
    pub local: bool,
}

/// How hints narrow the cluster list; all or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Hints are absent, incomplete or name others only.
    Anywhere,
    /// Every ready endpoint names zones, and one names this node's.
    SameZone,
    /// Every ready endpoint names nodes, and one names this node.
    SameNode,
}

/// Why an endpoint is not in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// The service port never uses the list.
    ListUnused,
    /// It is not ready.
    NotReady,
    /// It is shutting down, and ready ones are there to take over.
    Terminating,
    /// It is meant for other zones.
    OtherZone,
    /// It is meant for other nodes.
    OtherNode,
    /// It runs on another node, and the list is for this one's.
    NotLocal,
}

/// One endpoint's place in both lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In the cluster list, or why not.
    pub cluster: Result<(), Exclusion>,
    /// In the local list, or why not.
    pub local: Result<(), Exclusion>,
}

/// The standing of every endpoint, in their order, and the topology that was applied.
pub fn standings(
    place: Place<'_>,
    uses: Uses,
    endpoints: &[JoinedEndpoint<'_>],
) -> (Vec<Standing>, Topology) {
    let topology = topology(place, endpoints);
    let on_node = |endpoint: &Endpoint| is_local(place, endpoint);
    let any = |wanted: &dyn Fn(&Endpoint) -> bool| endpoints.iter().any(|joined| wanted(joined.endpoint));
    let cluster_ready = any(&|endpoint| endpoint.ready && allowed(place, topology, endpoint).is_ok());
    let local_ready = any(&|endpoint| endpoint.ready && on_node(endpoint));
    let standing = |joined: &JoinedEndpoint<'_>| {
        let endpoint = joined.endpoint;
        let cluster = match (uses.cluster, cluster_ready) {
            (false, _) => Err(Exclusion::ListUnused),
            (true, true) => condition(endpoint, true).and_then(|()| allowed(place, topology, endpoint)),
            (true, false) => condition(endpoint, false),
        };
        let local = match uses.local {
            false => Err(Exclusion::ListUnused),
            true if !on_node(endpoint) => Err(Exclusion::NotLocal),
            true => condition(endpoint, local_ready),
        };
        Standing { cluster, local }
    };
    (endpoints.iter().map(standing).collect(), if uses.cluster { topology } else { Topology::Anywhere })
}

/// Whether some endpoint could take traffic somewhere: an empty list drops then, instead of refusing.
pub fn usable_somewhere(endpoints: &[JoinedEndpoint<'_>]) -> bool {
    let mut all = endpoints.iter().map(|joined| joined.endpoint);
    all.any(|endpoint| endpoint.ready || (endpoint.serving && endpoint.terminating))
}

/// Whether the endpoint runs on this node.
pub fn is_local(place: Place<'_>, endpoint: &Endpoint) -> bool {
    !place.node.is_empty() && endpoint.node() == Some(place.node)
}

/// Hints count only if every ready endpoint has them, so that no endpoint is left without traffic
/// by an incomplete set; node hints come before zone hints.
fn topology(place: Place<'_>, endpoints: &[JoinedEndpoint<'_>]) -> Topology {
    let ready = || endpoints.iter().map(|joined| joined.endpoint).filter(|endpoint| endpoint.ready);
    let complete = |named: &dyn Fn(&Endpoint) -> bool, ours: &dyn Fn(&Endpoint) -> bool| {
        ready().all(named) && ready().any(ours)
    };
    let names = |list: &[seaway_cluster::Text], name: &str| list.iter().any(|entry| **entry == *name);
    if complete(&|endpoint| !endpoint.hints().nodes.is_empty(), &|endpoint| {
        names(&endpoint.hints().nodes, place.node)
    }) {
        return Topology::SameNode;
    }
    if complete(&|endpoint| !endpoint.hints().zones.is_empty(), &|endpoint| {
        names(&endpoint.hints().zones, place.zone)
    }) {
        return Topology::SameZone;
    }
    Topology::Anywhere
}

fn allowed(place: Place<'_>, topology: Topology, endpoint: &Endpoint) -> Result<(), Exclusion> {
    let named = |list: &[seaway_cluster::Text], name: &str| list.iter().any(|entry| **entry == *name);
    match topology {
        Topology::SameNode if !named(&endpoint.hints().nodes, place.node) => Err(Exclusion::OtherNode),
        Topology::SameZone if !named(&endpoint.hints().zones, place.zone) => Err(Exclusion::OtherZone),
        _ => Ok(()),
    }
}

/// Ready ones while there are any; else those that still serve while they shut down.
fn condition(endpoint: &Endpoint, others_ready: bool) -> Result<(), Exclusion> {
    let draining = endpoint.serving && endpoint.terminating;
    match (others_ready, endpoint.ready) {
        (true, true) => Ok(()),
        (true, false) if draining => Err(Exclusion::Terminating),
        (false, _) if draining => Ok(()),
        _ => Err(Exclusion::NotReady),
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListUnused => "the service never uses this list",
            Self::NotReady => "not ready",
            Self::Terminating => "terminating while others are ready",
            Self::OtherZone => "its hints name other zones",
            Self::OtherNode => "its hints name other nodes",
            Self::NotLocal => "not on this node",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seaway_cluster::{Hints, Locality};

    fn endpoint(text: &str) -> Endpoint {
        let has = |word: &str| text.split(' ').any(|part| part == word);
        let after = |prefix: &str| text.split(' ').find_map(|part| part.strip_prefix(prefix)).map(Into::into);
        Endpoint {
            address: "10.0.0.1".parse().expect("an address"),
            ready: has("ready"),
            serving: has("serving"),
            terminating: has("terminating"),
            hostname: None,
            pod: None,
            locality: Locality {
                node: after("on="),
                zone: None,
                hints: Hints {
                    zones: after("zone=").into_iter().collect(),
                    nodes: after("node=").into_iter().collect(),
                },
            }
            .shared(),
        }
    }

    /// Letters of the endpoints in the cluster list, a slash, those in the local list.
    #[track_caller]
    fn check(endpoints: &[&str], expected: &str) {
        let endpoints: Vec<Endpoint> = endpoints.iter().map(|text| endpoint(text)).collect();
        let joined: Vec<JoinedEndpoint<'_>> = endpoints
            .iter()
            .map(|endpoint| JoinedEndpoint { address: (endpoint.address, 80).into(), endpoint })
            .collect();
        let place = Place { node: "n1", zone: "za" };
        let (standings, _) = standings(place, Uses { cluster: true, local: true }, &joined);
        let letters = |pick: fn(&Standing) -> bool| -> String {
            ('a'..).zip(&standings).filter(|(_, standing)| pick(standing)).map(|(letter, _)| letter).collect()
        };
        assert_eq!(format!("{}/{}", letters(|s| s.cluster.is_ok()), letters(|s| s.local.is_ok())), expected);
    }

    #[test]
    fn ready_endpoints_come_first_and_draining_ones_only_without_them() {
        check(&["ready on=n1", "ready on=n2"], "ab/a");
        check(&["ready on=n2", "serving terminating on=n1"], "a/b");
        check(&["serving terminating on=n1", "serving terminating on=n2"], "ab/a");
        check(&["serving on=n1"], "/");
        check(&["terminating on=n1"], "/");
        check(&["ready terminating on=n1"], "a/a");
        check(&[], "/");
    }

    #[test]
    fn hints_count_only_when_complete_and_never_narrow_the_local_list() {
        check(&["ready zone=za on=n2", "ready zone=zb on=n1"], "a/b");
        check(&["ready zone=za on=n2", "ready on=n1"], "ab/b");
        check(&["ready zone=zb", "ready zone=zc"], "ab/");
        check(&["ready node=n1 zone=zb", "ready node=n2 zone=za"], "a/");
        check(&["ready node=n2 zone=za", "ready node=n3 zone=zb"], "a/");
        check(&["ready zone=za", "serving terminating"], "a/");
    }
}
