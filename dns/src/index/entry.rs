//! A Service as names see it.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use seaway_cluster::{EndpointSlice, Ingress, Protocol, Service, ServiceImport, ServiceName, ServiceType};

use super::{Addresses, Members};
use crate::name::{self, LABEL_MAX};
use crate::options::Options;

/// A Service with everything that its names answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The Service.
    pub name: ServiceName,
    /// Whether its namespace exists and may be asked for.
    pub visible: bool,
    /// It has no virtual address by intent: its names answer with its endpoints.
    pub headless: bool,
    /// The name it is an alias of, as octets, and nothing else.
    pub alias: Option<Box<[u8]>>,
    /// The ports of its virtual addresses; empty for headless ones, whose endpoints have ports.
    pub ports: Arc<[Port]>,
    /// The records of its own name.
    pub addresses: Addresses,
    /// Its ready endpoints.
    pub members: Members,
    /// How it is reached from outside of the cluster, where that is served.
    pub outside: Option<Box<Outside>>,
    stem: Stem,
}

/// Most names fit, so that a lookup that compares them stays within the entry.
type Stem = SmallVec<[u8; 40]>;

/// How a Service is reached from outside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The records of its external and load balancer addresses.
    pub addresses: Addresses,
    /// The names of its load balancers.
    pub hosts: Box<[Box<[u8]>]>,
}

/// A port that SRV records can tell: a slice's, or a Service's in the same form.
pub use seaway_cluster::EndpointPort as Port;

/// Ports as labels spell them.
pub trait NamedPort {
    /// Whether a label pair such as `http` and `tcp`, in lower case and without underscores, is
    /// this port.
    fn is(&self, name: &[u8], protocol: &[u8]) -> bool;

    /// Whether a label, in lower case and without underscore, is the port's protocol.
    fn has_protocol(&self, label: &[u8]) -> bool;
}

/// Why a Service has no names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unnamed {
    /// Its name or namespace is no label.
    #[error("service {0}: its name or namespace is no DNS label (1 to 63 octets); it is left out")]
    Name(ServiceName),
    /// The same of one that several clusters share.
    #[error("ServiceImport {0}: its name or namespace is no DNS label (1 to 63 octets); it is left out")]
    Import(ServiceName),
    /// Its external name is an address.
    #[error("service {0}: spec.externalName {1} is an address, not a name; it is left out")]
    Address(ServiceName, IpAddr),
    /// Its external name is no name.
    #[error("service {0}: spec.externalName: {1}; it is left out")]
    Target(ServiceName, #[source] name::BadName),
}

impl Entry {
    /// What the names of a Service answer.
    ///
    /// # Errors
    /// If it can have no name.
    pub fn of<'s>(
        service: &Service,
        slices: impl Iterator<Item = &'s Arc<EndpointSlice>>,
        visible: bool,
        options: &Options,
    ) -> Result<Self, Unnamed> {
        let stem = stem(&service.name).ok_or_else(|| Unnamed::Name(service.name.clone()))?;
        let alias = match &service.kind {
            ServiceType::ExternalName(target) => Some(alias(&service.name, target)?),
            _ => None,
        };
        let slices = slices.filter(|_| options.endpoints && alias.is_none());
        let members = Members::of(slices, options);
        let addresses = if service.headless {
            Addresses::of(members.iter().map(|member| member.address), options.ttl_s)
        } else {
            Addresses::of(service.cluster_ips.iter().copied(), options.ttl_s)
        };
        let named = service.ports.iter().filter(|_| !service.headless).map(|port| Port {
            name: Arc::clone(&port.name),
            protocol: port.protocol,
            port: port.port,
        });
        Ok(Self {
            name: service.name.clone(),
            visible,
            headless: service.headless,
            alias,
            ports: named.collect(),
            addresses,
            members,
            outside: options.external_ttl_s.and_then(|ttl_s| Outside::of(service, ttl_s)).map(Box::new),
            stem,
        })
    }

    /// What the names of a Service answer that several clusters share.
    ///
    /// # Errors
    /// If it can have no name.
    pub fn of_import<'s>(
        import: &ServiceImport,
        slices: impl Iterator<Item = &'s Arc<EndpointSlice>>,
        visible: bool,
        options: &Options,
    ) -> Result<Self, Unnamed> {
        let stem = stem(&import.name).ok_or_else(|| Unnamed::Import(import.name.clone()))?;
        let members = Members::of(slices.filter(|_| options.endpoints), options);
        let addresses = if import.headless {
            Addresses::of(members.iter().map(|member| member.address), options.ttl_s)
        } else {
            Addresses::of(import.addresses.iter().copied(), options.ttl_s)
        };
        Ok(Self {
            name: import.name.clone(),
            visible,
            headless: import.headless,
            alias: None,
            ports: import.ports.iter().filter(|_| !import.headless).cloned().collect(),
            addresses,
            members,
            outside: None,
            stem,
        })
    }

    /// Name and namespace as labels, in the object's case.
    pub fn key(&self) -> &[u8] {
        &self.stem[..self.stem.len() - b"\x03svc".len()]
    }

    /// The labels of its name left of the zone, in the object's case.
    pub fn stem(&self) -> &[u8] {
        &self.stem
    }

    /// Whether its names exist: a headless Service does with a ready endpoint, any other always,
    /// unless empty ones are to be ignored.
    pub fn exists(&self, options: &Options) -> bool {
        let needs_members = self.headless || (options.ignore_empty && self.alias.is_none());
        !needs_members || !self.members.is_empty()
    }
}

impl Outside {
    fn of(service: &Service, ttl_s: u32) -> Option<Self> {
        let ingress = |ingress: &Ingress| match ingress {
            Ingress::Address(address) => Ok(*address),
            Ingress::Host(host) => Err(Arc::clone(host)),
        };
        let mut addresses = service.external_ips.to_vec();
        let mut hosts: Vec<Box<[u8]>> = Vec::new();
        for entry in service.ingress.iter().map(ingress) {
            match entry {
                Ok(address) => addresses.push(address),
                // What is no name cannot be published; the Service's other addresses can.
                Err(host) => hosts.extend(name::parse(&host).ok()),
            }
        }
        hosts.sort_unstable();
        hosts.dedup();
        let some = !addresses.is_empty() || !hosts.is_empty();
        some.then(|| Self { addresses: Addresses::of(addresses.into_iter(), ttl_s), hosts: hosts.into() })
    }
}

impl NamedPort for Port {
    fn is(&self, name: &[u8], protocol: &[u8]) -> bool {
        !name.is_empty() && self.name.as_bytes().eq_ignore_ascii_case(name) && self.has_protocol(protocol)
    }

    fn has_protocol(&self, label: &[u8]) -> bool {
        let protocol: &[u8] = match self.protocol {
            Protocol::Tcp => b"tcp",
            Protocol::Udp => b"udp",
            Protocol::Sctp => b"sctp",
        };
        protocol == label
    }
}

fn stem(name: &ServiceName) -> Option<Stem> {
    let mut stem = Stem::new();
    for label in [&*name.name, &*name.namespace, "svc"] {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=LABEL_MAX).contains(&usize::from(*length)))?;
        stem.push(length);
        stem.extend_from_slice(label.as_bytes());
    }
    Some(stem)
}

fn alias(service: &ServiceName, target: &str) -> Result<Box<[u8]>, Unnamed> {
    if let Ok(address) = target.trim_end_matches('.').parse() {
        return Err(Unnamed::Address(service.clone(), address));
    }
    name::parse(target).map_err(|error| Unnamed::Target(service.clone(), error))
}
