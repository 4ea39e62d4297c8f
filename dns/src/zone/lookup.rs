//! Names to their meaning: the grammar of the cluster's zones.

use std::net::IpAddr;
use std::sync::Arc;

use super::address_name::{self, Place};
use crate::index::{Entry, Index, MemberName, NamedPort, Port};
use crate::name::{Name, Zone};
use crate::options::{Options, PodNames};

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub enum Found<'i, 'q> {
    /// Nothing: no type has an answer, here or below.
    Missing,
    /// It exists for the sake of names below it.
    Empty,
    /// The zone itself.
    Apex,
    /// The zone's name server, `ns.dns`.
    NameServer,
    /// `dns-version`.
    Version,
    /// A Service, or a port of it.
    Service(&'i Arc<Entry>, Option<PortLabels<'q>>),
    /// Endpoints of a Service, by their name.
    Endpoint(&'i Arc<Entry>, MemberName<'q>),
    /// Endpoints of a headless Service, by their zone.
    Zonal(&'i Arc<Entry>, Zonal<'q>),
    /// A Service that is another name for something else.
    Alias(&'i Arc<Entry>),
    /// A pod, by the address in its name.
    Pod(IpAddr),
    /// An address of visible Services.
    Address(IpAddr),
}

/// The labels `eu-1.pin._zone`.
#[derive(Clone, Copy, Debug)]
pub struct Zonal<'q> {
    name: &'q Name<'q>,
    labels: usize,
    /// Endpoints of other zones will do if there is none in this one.
    pub prefer: bool,
}

/// The labels `_http._tcp` in lower case, without their underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortLabels<'q> {
    port: &'q [u8],
    protocol: &'q [u8],
}

/// Looks up a name that is within `zone`.
pub fn find<'i, 'q>(index: &'i Index, options: &Options, zone: &Zone, name: &'q Name<'q>) -> Found<'i, 'q> {
    let depth = name.labels() - zone.labels();
    if depth == 0 {
        return Found::Apex;
    }
    match (depth, name.label(depth - 1)) {
        (2, b"dns") if name.label(0) == b"ns" => Found::NameServer,
        _ if zone.is_reverse() => of_address(index, name),
        (1, b"svc" | b"pod") => Found::Empty,
        (1, b"dns-version") => Found::Version,
        (_, b"svc") if options.is_shared(zone) => below_imports(index, options, name, depth),
        (_, b"svc") => below_services(index, options, name, depth),
        (_, b"pod") => below_pods(index, options, name, depth),
        _ => Found::Missing,
    }
}

fn below_services<'i, 'q>(
    index: &'i Index,
    options: &Options,
    name: &'q Name<'q>,
    depth: usize,
) -> Found<'i, 'q> {
    if depth == 2 {
        return namespace(index, name);
    }
    let Some(entry) = index.service(name.folded(depth - 3, depth - 1)) else { return Found::Missing };
    if !entry.exists(options) {
        return Found::Missing;
    }
    match (depth - 3, &entry.alias) {
        (0, Some(_)) => Found::Alias(entry),
        (0, None) => Found::Service(entry, None),
        (1, None) => endpoint(entry, name.label(0)),
        (2, None) => port(entry, name),
        (3.., None) if options.zonal && entry.headless => zonal(entry, name, depth),
        _ => Found::Missing,
    }
}

/// Names of Services that several clusters share. Endpoints are below the ids of their clusters,
/// so that ports need their underscores.
fn below_imports<'i, 'q>(
    index: &'i Index,
    options: &Options,
    name: &'q Name<'q>,
    depth: usize,
) -> Found<'i, 'q> {
    if depth == 2 {
        return namespace(index, name);
    }
    let entry = index.import(name.folded(depth - 3, depth - 1)).filter(|entry| entry.exists(options));
    let Some(entry) = entry else { return Found::Missing };
    match depth - 3 {
        0 => Found::Service(entry, None),
        1 if entry.members.has_cluster(name.label(0)) => Found::Empty,
        1 => protocol(entry, name.label(0)),
        2 if name.label(0).starts_with(b"_") || name.label(1).starts_with(b"_") => port(entry, name),
        2 => {
            let host = MemberName { label: name.label(0), cluster: name.label(1) };
            let some = entry.members.named(host).next().is_some();
            if some { Found::Endpoint(entry, host) } else { Found::Missing }
        }
        _ => Found::Missing,
    }
}

fn zonal<'i, 'q>(entry: &'i Arc<Entry>, name: &'q Name<'q>, depth: usize) -> Found<'i, 'q> {
    let prefer = match (name.label(depth - 5), name.label(depth - 4)) {
        (b"pin", b"_zone") => false,
        (b"prefer", b"_zone") => true,
        _ => return Found::Missing,
    };
    Found::Zonal(entry, Zonal { name, labels: depth - 5, prefer })
}

pub(super) fn endpoint<'i, 'q>(entry: &'i Arc<Entry>, label: &'q [u8]) -> Found<'i, 'q> {
    let host = MemberName { label, cluster: &[] };
    if entry.members.named(host).next().is_some() {
        return Found::Endpoint(entry, host);
    }
    protocol(entry, label)
}

/// `_tcp` is there for the sake of `_http._tcp`.
pub(super) fn protocol<'i, 'q>(entry: &'i Arc<Entry>, label: &'q [u8]) -> Found<'i, 'q> {
    let protocol = without_underscore(label);
    let parent = ports(entry).any(|port| !port.name.is_empty() && port.has_protocol(protocol));
    if parent { Found::Empty } else { Found::Missing }
}

/// The first two labels as a port of the Service.
pub(super) fn port<'i, 'q>(entry: &'i Arc<Entry>, name: &'q Name<'q>) -> Found<'i, 'q> {
    let labels = PortLabels::of(name.label(0), name.label(1));
    let some = ports(entry).any(|port| labels.fit(port));
    if some { Found::Service(entry, Some(labels)) } else { Found::Missing }
}

/// The ports that `_port._proto` names can name.
fn ports(entry: &Entry) -> impl Iterator<Item = &Port> {
    entry.ports.iter().chain(entry.members.ports().filter(|_| entry.headless))
}

fn below_pods(index: &Index, options: &Options, name: &Name<'_>, depth: usize) -> Found<'static, 'static> {
    let passed_over = options.compat.pods && options.pods == PodNames::Insecure;
    if options.pods == PodNames::Disabled || (depth > 3 && !passed_over) {
        return Found::Missing;
    }
    if depth == 2 {
        return namespace(index, name);
    }
    let namespace = name.label(depth - 2);
    let address = address_name::dashed(name.label(depth - 3)).filter(|address| {
        index.has_namespace(namespace)
            && (options.pods == PodNames::Insecure || index.has_pod(namespace, *address))
    });
    address.map_or(Found::Missing, Found::Pod)
}

fn namespace(index: &Index, name: &Name<'_>) -> Found<'static, 'static> {
    if index.has_namespace(name.label(0)) { Found::Empty } else { Found::Missing }
}

fn of_address(index: &Index, name: &Name<'_>) -> Found<'static, 'static> {
    match address_name::place(name) {
        Some(Place::Address(address)) if index.owners(address).any(|(entry, _)| entry.visible) => {
            Found::Address(address)
        }
        Some(Place::Part(low, high)) if index.has_owner_within(low, high) => Found::Empty,
        _ => Found::Missing,
    }
}

impl<'q> Zonal<'q> {
    /// The labels of the zone.
    pub fn labels(&self) -> impl Iterator<Item = &'q [u8]> {
        let name = self.name;
        (0..self.labels).map(|index| name.label(index))
    }
}

impl<'q> PortLabels<'q> {
    fn of(port: &'q [u8], protocol: &'q [u8]) -> Self {
        Self { port: without_underscore(port), protocol: without_underscore(protocol) }
    }

    /// Whether a port is the one they name.
    pub fn fit(&self, port: &Port) -> bool {
        port.is(self.port, self.protocol)
    }
}

fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
