//! What should be: every service port with its frontends and candidates, from a snapshot of facts.

mod address;
mod host_port;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use itertools::Itertools;
use seaway_cluster::{AddressFamily, Protocol, Service, ServiceName, ServicePort, Snapshot};
use seaway_common::{Addr, Be16, SERVICE_BALANCER, SERVICE_NAMED, ServiceKey, proto};

pub use port::{Port, Range, Target, backend};

use crate::preferences::Preferences;
use crate::site::Site;

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

/// Two service ports claim one frontend. An address that the API server allocated goes before one that a
/// controller or a user named; among equals, the first in order of names has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The frontend.
    pub frontend: ServiceKey,
    /// Who has it.
    pub winner: PortKey,
    /// Who does not.
    pub loser: PortKey,
}

/// All service ports as they should be. What is kept by frontend or address stands in one tree each: nearly
/// all have one claimant, and a tree of one takes as much memory as one of eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    ports: BTreeMap<PortKey, Port>,
    /// By frontend, in order of precedence.
    claims: BTreeSet<(ServiceKey, u8, PortKey)>,
    /// Frontends with more than one claimant.
    contested: BTreeSet<ServiceKey>,
    /// Virtual addresses, and who has them with which `ADDRESS_*` bits.
    addresses: BTreeMap<(Addr, PortKey), u32>,
    warnings: BTreeMap<ServiceName, Vec<String>>,
}

/// No key is less.
static LEAST: LazyLock<PortKey> = LazyLock::new(|| PortKey {
    service: ServiceName::new("", ""),
    port: "".into(),
    protocol: Protocol::Tcp,
    family: AddressFamily::Ipv4,
});

impl Desired {
    /// Everything that a snapshot asks for on the given node.
    pub fn of(snapshot: &Snapshot, site: impl Into<Site>) -> Self {
        let mut desired = Self::default();
        let site = site.into();
        desired.update(snapshot, &site, snapshot.services.keys());
        desired.update_pods(snapshot, &site);
        desired
    }

    /// Takes over what the snapshot says of some Services. Returns the ports that may have changed.
    pub fn update<'a>(
        &mut self,
        snapshot: &Snapshot,
        site: &Site,
        services: impl IntoIterator<Item = &'a ServiceName>,
    ) -> BTreeSet<PortKey> {
        let scene = port::Scene::new(snapshot, site);
        let mut changed = BTreeSet::new();
        for name in services {
            let service = snapshot.services.get(name).filter(|service| service.proxied());
            self.warnings.remove(name);
            let ports = service.map(|service| {
                let preferences = Preferences::of(service);
                let ports = scene.ports_of(service, &preferences);
                let mut warnings = preferences.warnings;
                warnings.extend(address::warnings(site, service));
                if !warnings.is_empty() {
                    self.warnings.insert(name.clone(), warnings);
                }
                ports
            });
            self.replace(self.keys_of(name), ports.unwrap_or_default(), &mut changed);
        }
        changed
    }

    /// Takes over the host ports of this node's pods. Returns the ports that may have changed.
    pub fn update_pods(&mut self, snapshot: &Snapshot, site: &Site) -> BTreeSet<PortKey> {
        let mut changed = BTreeSet::new();
        let before = self.ports.keys().filter(|key| host_port::is_one(key)).cloned().collect();
        self.replace(before, host_port::ports_of(snapshot, site), &mut changed);
        changed
    }

    /// The `ADDRESS_*` bits of a virtual address; `None` if nobody has it.
    pub fn address(&self, address: &Addr) -> Option<u32> {
        let owners = self.addresses.range((*address, LEAST.clone())..);
        let bits = owners.take_while(|((of, _), _)| of == address).map(|(_, bits)| *bits);
        bits.reduce(|all, bits| all | bits)
    }

    /// Every virtual address.
    pub fn addresses(&self) -> impl Iterator<Item = &Addr> {
        self.addresses.keys().map(|(address, _)| address).dedup()
    }

    /// What Services ask for in vain.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.values().flatten()
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
        self.claimants(frontend).next()
    }

    /// The frontends that a port has: those that it claims, without those that others have.
    pub fn frontends<'a>(&'a self, key: &'a PortKey, port: &'a Port) -> impl Iterator<Item = &'a ServiceKey> {
        let claimed = port.claims.iter().map(|(frontend, _)| frontend);
        claimed.filter(move |frontend| self.owner(frontend) == Some(key))
    }

    /// Every frontend that more than one port claims.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let contested = self.contested.iter().flat_map(|frontend| {
            let mut claimants = self.claimants(frontend);
            let winner = claimants.next();
            claimants.filter_map(move |loser| {
                let winner = winner?.clone();
                Some(Conflict { frontend: *frontend, winner, loser: loser.clone() })
            })
        });
        contested.collect()
    }

    /// Who claims a frontend, in order: the first has it.
    fn claimants(&self, frontend: &ServiceKey) -> impl Iterator<Item = &PortKey> + use<'_> {
        let frontend = *frontend;
        let claims = self.claims.range((frontend, 0, LEAST.clone())..);
        claims.take_while(move |(of, ..)| *of == frontend).map(|(.., key)| key)
    }

    fn keys_of(&self, service: &ServiceName) -> Vec<PortKey> {
        let first = PortKey { service: service.clone(), ..LEAST.clone() };
        let own = self.ports.range(first..).map(|(key, _)| key);
        own.take_while(|key| key.service == *service).cloned().collect()
    }

    fn replace(
        &mut self,
        before: Vec<PortKey>,
        mut ports: BTreeMap<PortKey, Port>,
        changed: &mut BTreeSet<PortKey>,
    ) {
        for key in before {
            if self.ports.get(&key) == ports.get(&key) {
                ports.remove(&key);
            } else {
                self.remove(&key, changed);
            }
        }
        for (key, port) in ports {
            self.insert(key, port, changed);
        }
    }

    fn insert(&mut self, key: PortKey, port: Port, changed: &mut BTreeSet<PortKey>) {
        for (frontend, flags) in &port.claims {
            let before = self.owner(frontend).cloned();
            if before.is_some() {
                self.contested.insert(*frontend);
            }
            changed.extend(before);
            self.claims.insert((*frontend, precedence(*flags), key.clone()));
        }
        for (address, bits) in &port.addresses {
            self.addresses.insert((*address, key.clone()), *bits);
        }
        self.ports.insert(key.clone(), port);
        changed.insert(key);
    }

    fn remove(&mut self, key: &PortKey, changed: &mut BTreeSet<PortKey>) {
        let Some(port) = self.ports.remove(key) else { return };
        for (frontend, flags) in port.claims {
            self.claims.remove(&(frontend, precedence(flags), key.clone()));
            let (owner, others) = {
                let mut left = self.claimants(&frontend);
                (left.next().cloned(), left.next().is_some())
            };
            changed.extend(owner);
            if !others {
                self.contested.remove(&frontend);
            }
        }
        for (address, _) in port.addresses {
            self.addresses.remove(&(address, key.clone()));
        }
        changed.insert(key.clone());
    }
}

/// The place of a claim among those to one frontend.
fn precedence(flags: u32) -> u8 {
    match flags & (SERVICE_BALANCER | SERVICE_NAMED) {
        0 => 0,
        SERVICE_BALANCER => 1,
        _ => 2,
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

/// The key of a Service's port in a family.
pub(crate) fn port_key(service: &Service, port: &ServicePort, family: AddressFamily) -> PortKey {
    PortKey { service: service.name.clone(), port: Arc::clone(&port.name), protocol: port.protocol, family }
}

/// The frontend of an address and port.
pub fn frontend(addr: IpAddr, port: u16, protocol: Protocol) -> ServiceKey {
    let proto = proto_number(protocol);
    ServiceKey { addr: addr.into(), port: Be16::new(port), proto, ..ServiceKey::default() }
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
