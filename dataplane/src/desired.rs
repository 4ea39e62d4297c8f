//! What should be: every service port with its frontends and candidates, from a snapshot of facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use seaway_cluster::{AddressFamily, Protocol, Service, ServiceName, ServicePort, Snapshot};
use seaway_common::{
    Addr, BACKEND_LOCAL, BACKEND_SERVING, BackendValue, Be16, SERVICE_EXTERNAL_LOCAL, SERVICE_INTERNAL_LOCAL,
    ServiceKey, proto,
};

use crate::policy::{self, Place, Uses};

/// Names a service port in one address family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The Service.
    pub service: ServiceName,
    /// The port's name; empty when it has none.
    pub port: Arc<str>,
    /// Its protocol; one name in two protocols is two ports.
    pub protocol: Protocol,
    /// Family of its addresses.
    pub family: AddressFamily,
}

/// One service port as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Frontends it claims, in order.
    pub claims: Vec<ServiceKey>,
    /// `SERVICE_*` bits.
    pub flags: u32,
    /// Seconds of client affinity; 0 is none.
    pub affinity_s: u32,
    /// Candidates under policy `Cluster`, in order.
    pub cluster: Vec<Target>,
    /// Candidates under policy `Local`, in order.
    pub local: Vec<Target>,
}

/// An endpoint's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: Be16,
    /// Whether it is on this node.
    pub local: bool,
}

/// Two service ports claim one frontend: the first in order of names has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The frontend.
    pub frontend: ServiceKey,
    /// Who has it.
    pub winner: PortKey,
    /// Who does not.
    pub loser: PortKey,
}

/// All service ports as they should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    ports: BTreeMap<PortKey, Port>,
    claims: BTreeMap<ServiceKey, BTreeSet<PortKey>>,
    /// Frontends with more than one claimant.
    contested: BTreeSet<ServiceKey>,
}

impl Desired {
    /// Everything that a snapshot asks for on the given node.
    pub fn of(snapshot: &Snapshot, node: &str) -> Self {
        let mut desired = Self::default();
        desired.update(snapshot, node, snapshot.services.keys());
        desired
    }

    /// Takes over what the snapshot says of some Services. Returns the ports that may have changed.
    pub fn update<'a>(
        &mut self,
        snapshot: &Snapshot,
        node: &str,
        services: impl IntoIterator<Item = &'a ServiceName>,
    ) -> BTreeSet<PortKey> {
        let zone = snapshot.nodes.get(node).and_then(|found| found.zone.as_deref()).unwrap_or_default();
        let place = Place { node, zone };
        let mut changed = BTreeSet::new();
        for name in services {
            let service = snapshot.services.get(name).filter(|service| service.proxied());
            let mut ports = service.map(|service| ports_of(snapshot, service, place)).unwrap_or_default();
            for key in self.keys_of(name) {
                if self.ports.get(&key) == ports.get(&key) {
                    ports.remove(&key);
                } else {
                    self.remove(&key, &mut changed);
                }
            }
            for (key, port) in ports {
                self.insert(key, port, &mut changed);
            }
        }
        changed
    }

    /// Every port's key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &PortKey> {
        self.ports.keys()
    }

    /// One port.
    pub fn port(&self, key: &PortKey) -> Option<&Port> {
        self.ports.get(key)
    }

    /// Who has a frontend.
    pub fn owner(&self, frontend: &ServiceKey) -> Option<&PortKey> {
        self.claims.get(frontend)?.first()
    }

    /// The frontends that a port has: those that it claims, without those that others have.
    pub fn frontends<'a>(&'a self, key: &'a PortKey, port: &'a Port) -> impl Iterator<Item = &'a ServiceKey> {
        port.claims.iter().filter(move |frontend| self.owner(frontend) == Some(key))
    }

    /// Every frontend that more than one port claims.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let contested =
            self.contested.iter().filter_map(|frontend| Some((frontend, self.claims.get(frontend)?)));
        contested
            .flat_map(|(frontend, claimants)| {
                let mut claimants = claimants.iter();
                let winner = claimants.next();
                claimants.filter_map(move |loser| {
                    let winner = winner?.clone();
                    Some(Conflict { frontend: *frontend, winner, loser: loser.clone() })
                })
            })
            .collect()
    }

    fn keys_of(&self, service: &ServiceName) -> Vec<PortKey> {
        let first = PortKey {
            service: service.clone(),
            port: "".into(),
            protocol: Protocol::Tcp,
            family: AddressFamily::Ipv4,
        };
        let own = self.ports.range(first..).map(|(key, _)| key);
        own.take_while(|key| key.service == *service).cloned().collect()
    }

    fn insert(&mut self, key: PortKey, port: Port, changed: &mut BTreeSet<PortKey>) {
        for frontend in &port.claims {
            let claimants = self.claims.entry(*frontend).or_default();
            changed.extend(claimants.first().cloned());
            claimants.insert(key.clone());
            if claimants.len() > 1 {
                self.contested.insert(*frontend);
            }
        }
        self.ports.insert(key.clone(), port);
        changed.insert(key);
    }

    fn remove(&mut self, key: &PortKey, changed: &mut BTreeSet<PortKey>) {
        let Some(port) = self.ports.remove(key) else { return };
        for frontend in &port.claims {
            let Some(claimants) = self.claims.get_mut(frontend) else { continue };
            claimants.remove(key);
            changed.extend(claimants.first().cloned());
            if claimants.len() <= 1 {
                self.contested.remove(frontend);
            }
            if claimants.is_empty() {
                self.claims.remove(frontend);
            }
        }
        changed.insert(key.clone());
    }
}

impl Target {
    /// The map value for this target of a service port.
    pub fn backend(&self, proto: u8, service: u32) -> BackendValue {
        let flags = BACKEND_SERVING | if self.local { BACKEND_LOCAL } else { 0 };
        BackendValue { addr: self.addr, port: self.port, proto, flags, service }
    }
}

/// IANA number of a protocol.
pub fn proto_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => proto::TCP,
        Protocol::Udp => proto::UDP,
        Protocol::Sctp => proto::SCTP,
    }
}

/// The protocol of an IANA number.
pub fn protocol_of(number: u8) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| proto_number(*protocol) == number)
}

/// The ports of one Service, in the families that it has an address of.
fn ports_of(snapshot: &Snapshot, service: &Service, place: Place<'_>) -> BTreeMap<PortKey, Port> {
    let mut ports = BTreeMap::new();
    for family in [AddressFamily::Ipv4, AddressFamily::Ipv6] {
        let Some(cluster_ip) = service.cluster_ip(family) else { continue };
        let endpoints = snapshot.endpoints_by_port(&service.name, family);
        for port in &service.ports {
            let key = seaway_cluster::PortKey { name: &port.name, protocol: port.protocol };
            let endpoints = endpoints.get(&key).map(Vec::as_slice).unwrap_or_default();
            let uses =
                Uses { cluster: service.uses_cluster(port, family), local: service.uses_local(port, family) };
            let (standings, _) = policy::standings(place, uses, endpoints);
            let list = |wanted: fn(&policy::Standing) -> bool| -> Vec<Target> {
                let eligible = endpoints.iter().zip(&standings).filter(|(_, standing)| wanted(standing));
                eligible.map(|(joined, _)| target(joined, place)).collect()
            };
            let value = Port {
                claims: vec![frontend(cluster_ip, port.port, port.protocol)],
                flags: flags(service),
                affinity_s: affinity_s(service),
                cluster: list(|standing| standing.cluster.is_ok()),
                local: list(|standing| standing.local.is_ok()),
            };
            ports.insert(port_key(service, port, family), value);
        }
    }
    ports
}

/// The key of a Service's port in a family.
pub(crate) fn port_key(service: &Service, port: &ServicePort, family: AddressFamily) -> PortKey {
    PortKey { service: service.name.clone(), port: Arc::clone(&port.name), protocol: port.protocol, family }
}

/// The frontend of an address and port.
pub fn frontend(addr: IpAddr, port: u16, protocol: Protocol) -> ServiceKey {
    let proto = proto_number(protocol);
    ServiceKey { addr: addr.into(), port: Be16::new(port), proto, ..ServiceKey::default() }
}

fn target(joined: &seaway_cluster::JoinedEndpoint<'_>, place: Place<'_>) -> Target {
    Target {
        addr: joined.address.ip().into(),
        port: Be16::new(joined.address.port()),
        local: policy::is_local(place, joined.endpoint),
    }
}

fn flags(service: &Service) -> u32 {
    let flag = |on: bool, bit: u32| if on { bit } else { 0 };
    flag(service.internal_local(), SERVICE_INTERNAL_LOCAL)
        | flag(service.external_local(), SERVICE_EXTERNAL_LOCAL)
}

fn affinity_s(service: &Service) -> u32 {
    match service.affinity {
        seaway_cluster::SessionAffinity::None => 0,
        seaway_cluster::SessionAffinity::ClientIp { timeout_s } => timeout_s,
    }
}

impl fmt::Display for PortKey {
    /// `namespace/name:port`, without the colon for an unnamed port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frontend, winner, loser } = self;
        let addr = IpAddr::from(frontend.addr);
        write!(f, "service {loser}: {addr} port {} is already that of service {winner}", frontend.port.get())
    }
}
