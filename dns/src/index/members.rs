//! The ready endpoints of a Service, and their names.

mod label;

pub use label::Label;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use seaway_cluster::{Endpoint, EndpointSlice};

use super::{HASHER, Port};
use crate::name::LABEL_MAX;
use crate::options::Options;

/// The ready endpoints of a Service in the order of its slices. An endpoint that two slices list,
/// as happens while it moves between them, is there twice: SRV weights count both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    list: Box<[Member]>,
    /// Low half of the name's hash, and place in the list; sorted.
    by_name: Box<[(u32, u32)]>,
    ports: Box<[Box<[Port]>]>,
}

/// A ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: IpAddr,
    /// Whether an endpoint before it has the same name and address.
    pub repeated: bool,
    /// Whether an endpoint before it has the same name.
    pub namesake: bool,
    slice: u32,
    host: Option<Arc<str>>,
    zone: Option<Arc<str>>,
}

impl Members {
    /// The members of a Service's slices.
    pub fn of<'s>(slices: impl Iterator<Item = &'s Arc<EndpointSlice>>, options: &Options) -> Self {
        let mut list = Vec::new();
        let mut ports = Vec::new();
        for (number, slice) in (0_u32..).zip(slices) {
            let of_slice = slice.ports.iter().map(|port| Port {
                name: Arc::clone(&port.name),
                protocol: port.protocol,
                port: port.port,
            });
            let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
            // The ports of a slice without ready endpoints are nobody's.
            let some = ready.clone().next().is_some();
            ports.push(of_slice.filter(|_| some).collect());
            list.extend(ready.map(|endpoint| Member {
                address: endpoint.address,
                repeated: false,
                namesake: false,
                slice: number,
                host: host(endpoint, options),
                zone: endpoint.zone.clone().filter(|_| options.zonal),
            }));
        }
        let mut members =
            Self { list: list.into(), by_name: Box::default(), ports: ports.into_boxed_slice() };
        members.arrange();
        members
    }

    fn arrange(&mut self) {
        let numbers = (0_u32..).zip(&self.list);
        let mut by_name: Vec<(u32, u32)> =
            numbers.map(|(number, member)| (short_hash(&member.label().folded()), number)).collect();
        by_name.sort_unstable();
        for place in 1..by_name.len() {
            let (hash, number) = by_name[place];
            let before = by_name[..place].iter().rev().take_while(|(other, _)| *other == hash);
            let number = number as usize;
            let label = self.list[number].label();
            let (mut namesake, mut repeated) = (false, false);
            for (_, other) in before {
                let other = &self.list[*other as usize];
                let same = *other.label().folded() == *label.folded();
                namesake |= same;
                repeated |= same && other.address == self.list[number].address;
            }
            self.list[number].namesake = namesake;
            self.list[number].repeated = repeated;
        }
        self.by_name = by_name.into();
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Member> + Clone {
        self.list.iter()
    }

    /// The one at a place in the list.
    pub fn at(&self, place: usize) -> Option<&Member> {
        self.list.get(place)
    }

    /// Those of a name in lower case, in the order of the list.
    pub fn named<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m Member> + Clone {
        let hash = short_hash(name);
        let start = self.by_name.partition_point(|(other, _)| *other < hash);
        let candidates = self.by_name[start..].iter().take_while(move |(other, _)| *other == hash);
        let members = candidates.map(|(_, number)| &self.list[*number as usize]);
        members.filter(move |member| *member.label().folded() == *name)
    }

    /// The ports that a member listens on.
    pub fn ports_of(&self, member: &Member) -> &[Port] {
        &self.ports[member.slice as usize]
    }

    /// The ports of all slices that have a ready endpoint.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// Those of the same name that come before a member.
    pub fn before<'m>(&'m self, member: &'m Member) -> impl Iterator<Item = &'m Member> {
        // Nearly every name is its own, and then there is nothing to look for.
        let label = member.namesake.then(|| member.label().folded());
        let hash = label.as_deref().map(short_hash);
        let start =
            hash.map_or(self.by_name.len(), |hash| self.by_name.partition_point(|(other, _)| *other < hash));
        let candidates = self.by_name[start..].iter().map(|(_, number)| &self.list[*number as usize]);
        let earlier = candidates.take_while(move |other| !std::ptr::eq(*other, member));
        earlier.filter(move |other| label.as_deref().is_some_and(|label| *other.label().folded() == *label))
    }
}

impl Member {
    /// Whether both are in the same slice.
    pub fn is_in_slice_of(&self, other: &Self) -> bool {
        self.slice == other.slice
    }

    /// Whether it is in the zone that labels in lower case spell; zones may hold dots.
    pub fn is_in_zone<'l>(&self, labels: impl Iterator<Item = &'l [u8]>) -> bool {
        let zone = self.zone.as_deref().unwrap_or_default();
        let same = |(part, label): (&str, &[u8])| part.as_bytes().eq_ignore_ascii_case(label);
        let labels: Vec<&[u8]> = labels.collect();
        zone.split('.').count() == labels.len() && zone.split('.').zip(labels).all(same)
    }

    /// The name of the endpoint: its hostname, or its address with dashes.
    pub fn label(&self) -> Label {
        match &self.host {
            Some(host) => Label::of_host(host),
            None => Label::of_address(self.address),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn short_hash(name: &[u8]) -> u32 {
    HASHER.hash_one(name) as u32
}

/// The endpoint's own name. One that is no label is passed over, as if there were none.
fn host(endpoint: &Endpoint, options: &Options) -> Option<Arc<str>> {
    let pod = endpoint.pod.as_ref().filter(|_| options.endpoint_pod_names);
    let names = endpoint.hostname.iter().chain(pod);
    names.into_iter().find(|name| (1..=LABEL_MAX).contains(&name.len())).cloned()
}
