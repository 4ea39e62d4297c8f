//! Why traffic to an address goes where it goes, from the facts alone.

mod in_force;

use std::net::{IpAddr, SocketAddr};

use seaway_cluster::{AddressFamily, JoinedEndpoint, Service, ServicePort, Snapshot};
use seaway_common::{
    Algorithm, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED, SERVICE_SOMEWHERE,
    SERVICE_STAND_IN, ServiceKey, ServiceValue,
};
use serde::Serialize;

use crate::desired::{Desired, PortKey, frontend, port_key};
use crate::maglev;
use crate::policy::{self, Exclusion, Place, Topology, Uses};
use crate::preferences::name_of;
use crate::site::Site;

pub use in_force::{InForce, in_force};

/// Which list is chosen from where this node's own DNS server stands in, and after it fell silent.
const STOOD_IN: [&str; 2] = [
    "local: this node's own DNS server stands in for the service's endpoints",
    "cluster: this node's own DNS server answers no more, so the service's endpoints count",
];

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who asks.
    pub client: IpAddr,
    /// The address asked for.
    pub vip: SocketAddr,
    /// `namespace/name:port`.
    pub service: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// `cluster` or `local`: the list that this traffic chooses from, and why.
    pub list: String,
    /// How hints narrowed the cluster list.
    pub topology: String,
    /// How one of the candidates is chosen.
    pub algorithm: String,
    /// Every endpoint of the service port.
    pub endpoints: Vec<Candidate>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
    /// What the maps of this node say, where they can be read.
    pub in_force: Option<InForce>,
    /// The client counts as a part of the cluster.
    pub inside: bool,
    /// The frontend's key in the maps.
    #[serde(skip)]
    pub frontend: ServiceKey,
}

/// One endpoint, in or out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Where it listens.
    pub address: SocketAddr,
    /// The node it runs on.
    pub node: Option<String>,
    /// Whether this traffic may go to it.
    pub candidate: bool,
    /// The rule that decided.
    pub why: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody has the address.
    #[error("no service has the address {0}")]
    UnknownAddress(IpAddr),
    /// Nobody has the address, though Services have theirs from its range.
    #[error("no service has the address {0}; it lies in a range of Services, so packets to it are dropped")]
    Unallocated(IpAddr),
    /// The Service has the address, and so has an interface of this node.
    #[error(
        "service {service} has the address {addr}, and an interface of this node has it too (NodeLocal DNS?): \
         traffic to it is left to the node"
    )]
    Held {
        /// The Service.
        service: String,
        /// Its cluster IP.
        addr: IpAddr,
    },
    /// Nobody has the port.
    #[error("no service has port {port} of {addr}, so it is refused; its ports are {known}")]
    UnknownPort {
        /// The address.
        addr: IpAddr,
        /// The port asked for.
        port: u16,
        /// The ports that it has.
        known: String,
    },
}

/// Explains where `client`'s connection to `vip` goes.
///
/// # Errors
/// [`Error`] when no service has the address and port.
pub fn explain(
    snapshot: &Snapshot,
    site: impl Into<Site>,
    client: IpAddr,
    vip: SocketAddr,
    protocol: seaway_cluster::Protocol,
) -> Result<Explanation, Error> {
    let site = site.into();
    let desired = Desired::of(snapshot, site.clone());
    let node = &*site.node;
    let place = frontend(vip.ip(), vip.port(), protocol);
    let owner = desired.owner(&place);
    let found = owner.and_then(|key| port_of(snapshot, key).map(|(service, port)| (key, service, port)));
    let Some((key, service, port)) = found else { return Err(unknown(snapshot, &site, vip)) };
    let Some(wanted) = desired.port(key) else { return Err(unknown(snapshot, &site, vip)) };
    let key_of_frontend = place;
    let flags = wanted.flags_of(&place).unwrap_or(0);
    let value = ServiceValue { flags, ..ServiceValue::default() };
    let inside = is_inside(snapshot, &site, client);
    let zone = snapshot.nodes.get(node).and_then(|node| node.zone.as_deref()).unwrap_or_default();
    let place = Place { node, zone };
    let endpoints = snapshot.endpoints_of(&service.name, port, key.family);
    let uses =
        Uses { cluster: service.uses_cluster(port, key.family), local: service.uses_local(port, key.family) };
    let (standings, topology) = policy::standings(place, uses, &endpoints);
    let stood_in = value.has(SERVICE_STAND_IN);
    let local = if stood_in { service.internal_local() } else { value.uses_local(inside) };
    let mut candidates: Vec<Candidate> = endpoints
        .iter()
        .zip(standings)
        .map(|(joined, standing)| candidate(joined, if local { standing.local } else { standing.cluster }))
        .collect();
    let own = site.node_dns.listener_for(service, port, key.family).filter(|_| stood_in);
    let silent = site.node_dns.silent;
    if let Some(address) = own {
        for candidate in candidates.iter_mut().filter(|_| !silent) {
            (candidate.candidate, candidate.why) = (false, "this node's own DNS server stands in".to_owned());
        }
        let why = if silent { "it answers no more" } else { "this node's own DNS server" }.to_owned();
        candidates.push(Candidate { address, node: Some(node.to_owned()), candidate: !silent, why });
    }
    Ok(Explanation {
        client,
        vip,
        service: key.to_string(),
        protocol: format!("{protocol:?}").to_lowercase(),
        list: match stood_in {
            true => STOOD_IN[usize::from(silent)],
            false => list(value, inside, local),
        }
        .to_owned(),
        topology: describe(topology).to_owned(),
        algorithm: chooser(value.algorithm(inside), candidates.iter().filter(|it| it.candidate).count()),
        notes: notes(client, &candidates, &desired, key, value),
        endpoints: candidates,
        in_force: None,
        inside,
        frontend: key_of_frontend,
    })
}

fn port_of<'a>(snapshot: &'a Snapshot, key: &PortKey) -> Option<(&'a Service, &'a ServicePort)> {
    let service = snapshot.services.get(&key.service)?;
    let port = service.ports.iter().find(|port| port_key(service, port, key.family) == *key)?;
    Some((service, port))
}

fn unknown(snapshot: &Snapshot, site: &Site, vip: SocketAddr) -> Error {
    let family = if vip.is_ipv4() { AddressFamily::Ipv4 } else { AddressFamily::Ipv6 };
    let of_address = |service: &&Service| service.proxied() && service.cluster_ip(family) == Some(vip.ip());
    let service = snapshot.services.values().map(AsRef::as_ref).find(of_address);
    let ranges = site.service_ranges(snapshot);
    let Some(service) = service else {
        let allocated = ranges.iter().any(|range| range.contains(&vip.ip()));
        return if allocated { Error::Unallocated(vip.ip()) } else { Error::UnknownAddress(vip.ip()) };
    };
    if site.addresses.contains(&vip.ip()) {
        return Error::Held { service: service.name.to_string(), addr: vip.ip() };
    }
    let ports: Vec<String> = service
        .ports
        .iter()
        .map(|port| format!("{}/{:?}", port.port, port.protocol).to_lowercase())
        .collect();
    Error::UnknownPort { addr: vip.ip(), port: vip.port(), known: ports.join(", ") }
}

fn candidate(joined: &JoinedEndpoint<'_>, standing: Result<(), Exclusion>) -> Candidate {
    let endpoint = joined.endpoint;
    let why = match standing {
        Ok(()) if endpoint.ready => "ready".to_owned(),
        Ok(()) => "terminating, but still serving, and none is ready".to_owned(),
        Err(exclusion) => exclusion.to_string(),
    };
    Candidate {
        address: joined.address,
        node: endpoint.node().map(str::to_owned),
        candidate: standing.is_ok(),
        why,
    }
}

/// A pod, a node, or an address that they get theirs from.
fn is_inside(snapshot: &Snapshot, site: &Site, client: IpAddr) -> bool {
    let pod = || snapshot.pods.values().any(|pod| pod.addresses.contains(&client));
    let node = || {
        let mut nodes = snapshot.nodes.values();
        nodes.any(|node| {
            node.addresses.contains(&client) || node.pod_cidrs.iter().any(|range| range.contains(&client))
        })
    };
    site.config.in_cluster(&client.into()) || site.addresses.contains(&client) || node() || pod()
}

fn list(value: ServiceValue, inside: bool, local: bool) -> &'static str {
    match (value.has(SERVICE_EXTERNAL), local) {
        (false, true) => "local: internalTrafficPolicy is Local, so only this node's endpoints count",
        (false, false) => "cluster: internalTrafficPolicy is Cluster, so every endpoint counts",
        (true, true) => {
            "local: externalTrafficPolicy is Local and the client is outside, so only this node's endpoints count"
        }
        (true, false) if inside && value.has(SERVICE_EXTERNAL_LOCAL) => {
            "cluster: externalTrafficPolicy is Local, but the client is inside the cluster, so every endpoint counts"
        }
        (true, false) => "cluster: externalTrafficPolicy is Cluster, so every endpoint counts",
    }
}

fn chooser(algorithm: Algorithm, candidates: usize) -> String {
    let name = name_of(algorithm);
    let size = if candidates <= 1 { candidates } else { maglev::size(candidates) as usize };
    match algorithm {
        Algorithm::Random => {
            format!("{name}: every connection takes one of the candidates with equal chance")
        }
        Algorithm::Maglev => format!(
            "{name}: the hash of addresses and ports picks one of {size} places of the consistent table"
        ),
        Algorithm::SourceHash => {
            format!(
                "{name}: the hash of the client's address picks one of {size} places of the consistent table"
            )
        }
        Algorithm::RoundRobin => format!("{name}: the candidates take turns"),
        Algorithm::LeastConnections => {
            format!("{name}: the candidate with the fewest open connections, of eight that are looked at")
        }
    }
}

fn describe(topology: Topology) -> &'static str {
    match topology {
        Topology::Anywhere => "none: hints are absent, incomplete or name others only",
        Topology::SameZone => "same zone: every ready endpoint has zone hints, and one names this zone",
        Topology::SameNode => "same node: every ready endpoint has node hints, and one names this node",
    }
}

fn notes(
    client: IpAddr,
    candidates: &[Candidate],
    desired: &Desired,
    key: &PortKey,
    value: ServiceValue,
) -> Vec<String> {
    let mut notes = Vec::new();
    if !candidates.iter().any(|candidate| candidate.candidate) {
        let fate = if value.has(SERVICE_SOMEWHERE) {
            "there are some elsewhere, so packets are dropped"
        } else {
            "connections are refused"
        };
        notes.push(format!("no endpoint is a candidate: {fate}"));
    }
    let port = desired.port(key);
    if value.has(SERVICE_GUARDED)
        && !port.is_some_and(|port| port.ranges.iter().any(|range| range.contains(&client.into())))
    {
        notes.push(
            "the client is in none of the service's loadBalancerSourceRanges: it is dropped".to_owned(),
        );
    }
    if let Some(seconds) = port.map(|port| port.affinity_s).filter(|seconds| *seconds != 0) {
        notes.push(format!(
            "a client keeps its endpoint until it was silent for {seconds} s (sessionAffinity)"
        ));
    }
    if candidates.iter().any(|candidate| candidate.candidate && candidate.address.ip() == client) {
        notes.push("the client is one of the candidates and may be given itself".to_owned());
    }
    let contested = desired.conflicts().into_iter().filter(|conflict| conflict.winner == *key);
    notes.extend(contested.map(|conflict| conflict.to_string()));
    notes
}
