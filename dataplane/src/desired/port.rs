//! One service port as it should be, from its Service and its endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use itertools::Itertools;
use seaway_cluster::{AddressFamily, JoinedEndpoint, Service, ServicePort, SessionAffinity, Snapshot};
use seaway_common::{
    ADDRESS_CLUSTER_IP, ADDRESS_OWN, Addr, Algorithm, BACKEND_HOST, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL,
    BACKEND_LOCAL, BACKEND_SERVING, BackendValue, Be16, CONFIG_CROSS, SERVICE_BALANCER, SERVICE_CROSS,
    SERVICE_DSR, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED, SERVICE_INTERNAL_LOCAL,
    SERVICE_LOOPBACK, SERVICE_LOOPBACK_NET, SERVICE_NAMED, SERVICE_NEAR, SERVICE_SOMEWHERE, SERVICE_STAND_IN,
    ServiceKey, ServiceValue, SourceRangeKey,
};

use super::{PortKey, address, frontend, port_key};
use crate::maglev;
use crate::policy::{self, Place, Standing, Uses};
use crate::preferences::Preferences;
use crate::site::{Algorithms, Site};

/// One service port as it should be. There are tens of thousands: its lists are as long as they have to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Frontends it claims, each once and in order, with their `SERVICE_*` bits.
    pub claims: Box<[(ServiceKey, u32)]>,
    /// Virtual addresses of the claims, each once and in order, with their `ADDRESS_*` bits; not those
    /// of node ports.
    pub addresses: Box<[(Addr, u32)]>,
    /// Who may use the guarded claims.
    pub ranges: Box<[Range]>,
    /// Seconds of client affinity; 0 is none.
    pub affinity_s: u32,
    /// Candidates under policy `Cluster`, in order.
    pub cluster: Box<[Target]>,
    /// Candidates under policy `Local`, in order.
    pub local: Box<[Target]>,
    /// Endpoints that serve and are in neither list: flows that they have run on.
    pub draining: Box<[Target]>,
}

/// A range of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First address.
    pub addr: Addr,
    /// Bits that count, of the 16-byte form.
    pub len: u8,
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
    /// Whether its address is one of this node's own.
    pub host: bool,
    /// Its share of the consistent table.
    pub weight: u8,
}

/// What the decisions are made from, beside the Service.
pub(super) struct Scene<'a> {
    snapshot: &'a Snapshot,
    site: &'a Site,
    node_ports: Vec<IpAddr>,
    taken: address::Taken,
}

impl Port {
    /// The `SERVICE_*` bits of a frontend that it claims.
    pub fn flags_of(&self, frontend: &ServiceKey) -> Option<u32> {
        let place = self.claims.binary_search_by_key(frontend, |(claimed, _)| *claimed).ok()?;
        Some(self.claims[place].1)
    }

    /// Whether the consistent table over one of the lists is used.
    pub fn uses_table(&self, local: bool) -> bool {
        self.claims.iter().any(|(_, flags)| {
            let value = ServiceValue { flags: *flags, ..ServiceValue::default() };
            [true, false]
                .into_iter()
                .any(|inside| value.uses_local(inside) == local && value.algorithm(inside).needs_table())
        })
    }

    /// Every target once, with its `BACKEND_*` bits: those of the lists, and those that drain.
    pub fn backends(&self) -> BTreeMap<(Addr, Be16), u8> {
        let mut backends = BTreeMap::new();
        let lists =
            [(&self.draining, 0), (&self.cluster, BACKEND_IN_CLUSTER), (&self.local, BACKEND_IN_LOCAL)];
        for (list, membership) in lists {
            for target in list {
                let bits: &mut u8 = backends.entry(target.place()).or_default();
                *bits |= target.flags() | membership;
            }
        }
        backends
    }
}

impl Range {
    /// Whether an address lies in it.
    pub fn contains(&self, addr: &Addr) -> bool {
        let bits = |addr: &Addr| {
            u128::from_be_bytes(bytemuck::cast(addr.words().map(|word| word.get().to_be_bytes())))
        };
        let shift = 128 - u32::from(self.len);
        let kept = |addr: &Addr| bits(addr).checked_shr(shift).unwrap_or(0);
        kept(addr) == kept(&self.addr)
    }

    /// The key of a service id's range.
    pub fn key(&self, service: u32) -> SourceRangeKey {
        SourceRangeKey { prefix_len: 32 + u32::from(self.len), service, addr: self.addr }
    }
}

impl Target {
    /// What tells it from the others of its service port.
    pub fn place(&self) -> (Addr, Be16) {
        (self.addr, self.port)
    }

    /// `BACKEND_*` bits, membership of lists aside.
    fn flags(&self) -> u8 {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        BACKEND_SERVING | flag(self.local, BACKEND_LOCAL) | flag(self.host, BACKEND_HOST)
    }

    /// Its part in a consistent table.
    pub fn entry(&self) -> maglev::Entry {
        maglev::Entry { addr: self.addr, port: self.port, weight: self.weight }
    }
}

/// The map value of a service port's backend.
pub fn backend(place: (Addr, Be16), flags: u8, proto: u8, service: u32) -> BackendValue {
    BackendValue { addr: place.0, port: place.1, proto, flags, service }
}

impl<'a> Scene<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, site: &'a Site) -> Self {
        let node_ports = site.node_port_addresses(snapshot).into_iter().collect();
        Self { snapshot, site, node_ports, taken: address::Taken::default() }
    }

    /// The ports of one Service, in the families that it has an address of. Where that is one family
    /// alone, external addresses of the other lead to the same endpoints if the node translates them.
    pub(super) fn ports_of(&self, service: &Service, wishes: &Preferences) -> BTreeMap<PortKey, Port> {
        let mut ports = BTreeMap::new();
        for (family, other) in
            [(AddressFamily::Ipv4, AddressFamily::Ipv6), (AddressFamily::Ipv6, AddressFamily::Ipv4)]
        {
            let cluster_ip = service.cluster_ip(family);
            let translates = self.site.config.flags & CONFIG_CROSS != 0;
            let (from, crosses) = match cluster_ip {
                Some(_) => (family, 0),
                None if translates && service.cluster_ip(other).is_some() => (other, SERVICE_CROSS),
                None => continue,
            };
            let endpoints = self.snapshot.endpoints_by_port(&service.name, from);
            for port in &service.ports {
                let key = seaway_cluster::PortKey { name: &port.name, protocol: port.protocol };
                let endpoints = endpoints.get(&key).map(Vec::as_slice).unwrap_or_default();
                let mut value = self.lists(service, port, family, endpoints, wishes);
                let stood_in = self.site.node_dns.stand_in(service, port, family, &mut value);
                let stand_in = if stood_in { SERVICE_STAND_IN } else { 0 };
                let common = common_flags(&value, endpoints) | crosses | stand_in;
                self.claim(&mut value, (service, port, family), endpoints, (cluster_ip, common), wishes);
                ports.insert(port_key(service, port, family), value);
            }
        }
        ports
    }

    fn lists(
        &self,
        service: &Service,
        port: &ServicePort,
        family: AddressFamily,
        endpoints: &[JoinedEndpoint<'_>],
        wishes: &Preferences,
    ) -> Port {
        let node = &*self.site.node;
        let zone = self.snapshot.nodes.get(node).and_then(|found| found.zone.as_deref()).unwrap_or_default();
        let place = Place { node, zone };
        let uses =
            Uses { cluster: service.uses_cluster(port, family), local: service.uses_local(port, family) };
        let (standings, _) = policy::standings(place, uses, endpoints);
        let target = |joined: &JoinedEndpoint<'_>| Target {
            addr: joined.address.ip().into(),
            port: Be16::new(joined.address.port()),
            local: policy::is_local(place, joined.endpoint),
            host: self.site.owns(self.snapshot, joined.address.ip()),
            weight: wishes.weight(joined.endpoint),
        };
        let list = |wanted: fn(&Standing) -> bool| -> Box<[Target]> {
            let eligible = endpoints.iter().zip(&standings).filter(|(_, standing)| wanted(standing));
            eligible.map(|(joined, _)| target(joined)).collect()
        };
        let outside = |standing: &Standing| standing.cluster.is_err() && standing.local.is_err();
        let draining = endpoints.iter().zip(&standings).filter(|(joined, standing)| {
            outside(standing) && (joined.endpoint.serving || joined.endpoint.ready)
        });
        Port {
            affinity_s: affinity_s(service),
            cluster: list(|standing| standing.cluster.is_ok()),
            local: list(|standing| standing.local.is_ok()),
            draining: draining.map(|(joined, _)| target(joined)).collect(),
            ..Port::default()
        }
    }

    fn claim(
        &self,
        value: &mut Port,
        (service, port, family): (&Service, &ServicePort, AddressFamily),
        endpoints: &[JoinedEndpoint<'_>],
        (cluster_ip, common): (Option<IpAddr>, u32),
        wishes: &Preferences,
    ) {
        let flag = |on: bool, bit: u32| if on { bit } else { 0 };
        // Beside a server that stands in there is one list, for every client.
        let keeps_local = common & SERVICE_STAND_IN == 0;
        let inner = common | algorithm_flags(wishes.algorithms(self.site.algorithms, false));
        let outer = common
            | algorithm_flags(wishes.algorithms(self.site.algorithms, true))
            | SERVICE_EXTERNAL
            | flag(keeps_local && service.external_local(), SERVICE_EXTERNAL_LOCAL)
            | flag(wishes.dsr, SERVICE_DSR);
        let allowed = service.allowed_sources(family);
        let guard = flag(!allowed.is_empty(), SERVICE_GUARDED);
        let (mut claims, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        let mut claim = |addr: IpAddr, number: u16, flags: u32, kind: u32| {
            // The first of an address counts: a cluster IP is one, whatever else it is said to be.
            claims.entry(frontend(addr, number, port.protocol)).or_insert(flags);
            if kind != 0 {
                *addresses.entry(addr.into()).or_default() |= kind;
            }
        };
        let internal = flag(keeps_local && service.internal_local(), SERVICE_INTERNAL_LOCAL);
        let held = cluster_ip.filter(|addr| address::is_held_by_node(self.site, *addr));
        if let Some(cluster_ip) = cluster_ip.filter(|_| held.is_none()) {
            claim(cluster_ip, port.port, inner | internal, ADDRESS_CLUSTER_IP);
        }
        let served = |addr: &IpAddr, named| address::refusal(self.site, *addr, named).is_none();
        let bits = |addr: IpAddr| self.taken.bits(self.snapshot, self.site, endpoints, addr);
        let balancers = service.load_balancer_ips_of(family).filter(|addr| served(addr, false));
        let balancers: Vec<IpAddr> = balancers.collect();
        for addr in &balancers {
            claim(*addr, port.port, outer | guard | SERVICE_BALANCER, bits(*addr));
        }
        for addr in service.external_ips_of(family).filter(|addr| served(addr, true)) {
            claim(addr, port.port, outer | SERVICE_NAMED, bits(addr));
        }
        if port.node_port != 0 {
            let own = self.node_ports.iter().filter(|addr| AddressFamily::of(**addr) == family);
            own.for_each(|addr| claim(*addr, port.node_port, outer, 0));
            // A socket cannot change its family.
            if cluster_ip.is_some() {
                let flags = outer | SERVICE_LOOPBACK | SERVICE_LOOPBACK_NET;
                claim(loopback(family), port.node_port, flags, 0);
            }
        }
        if !balancers.is_empty() && guard != 0 {
            value.ranges = allowed.iter().map(range).sorted_unstable().dedup().collect();
        }
        value.claims = claims.into_iter().collect();
        if let Some(held) = held {
            addresses.insert(held.into(), ADDRESS_OWN);
        }
        value.addresses = addresses.into_iter().collect();
    }
}

/// The bits that all frontends of a service port share.
fn common_flags(value: &Port, endpoints: &[JoinedEndpoint<'_>]) -> u32 {
    let near = value.cluster.iter().chain(&value.local).any(|target| target.local || target.host);
    let somewhere = policy::usable_somewhere(endpoints);
    (if near { SERVICE_NEAR } else { 0 }) | if somewhere { SERVICE_SOMEWHERE } else { 0 }
}

/// The bits of a pair of algorithms.
pub(super) fn algorithm_flags(algorithms: Algorithms) -> u32 {
    Algorithm::flags(algorithms.inside, algorithms.outside)
}

pub(super) fn loopback(family: AddressFamily) -> IpAddr {
    match family {
        AddressFamily::Ipv4 => std::net::Ipv4Addr::LOCALHOST.into(),
        AddressFamily::Ipv6 => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

fn range(net: &ipnet::IpNet) -> Range {
    let mapped = if net.addr().is_ipv4() { 96 } else { 0 };
    Range { addr: net.network().into(), len: mapped + net.prefix_len() }
}

fn affinity_s(service: &Service) -> u32 {
    match service.affinity {
        SessionAffinity::None => 0,
        SessionAffinity::ClientIp { timeout_s } => timeout_s,
    }
}
