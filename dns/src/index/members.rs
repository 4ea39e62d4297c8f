//! The ready endpoints of a Service, and their names.

mod label;

pub use label::Label;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use seaway_cluster::{Endpoint, EndpointSlice};
use smallvec::SmallVec;

use super::{HASHER, Port};
use crate::name::LABEL_MAX;
use crate::options::Options;

/// So many names are compared one by one.
const UNSORTED_MAX: usize = 16;

/// The ready endpoints of a Service in the order of its slices. An endpoint that two slices list,
/// as happens while it moves between them, is there twice: SRV weights count both.
///
/// The facts stay in the slices, which the snapshot holds anyway; an endpoint costs 16 octets here.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Those that have a member; ports of other slices are nobody's.
    slices: SmallVec<[Arc<EndpointSlice>; 1]>,
    list: Box<[Spot]>,
    /// Low half of the name's hash, and place in the list; sorted. Of few, all are looked at instead.
    by_name: Box<[(u32, u32)]>,
    /// Endpoints without a hostname are named after their pods.
    pod_names: bool,
    zonal: bool,
}

/// The name of an endpoint, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberName<'n> {
    /// Its own label.
    pub label: &'n [u8],
    /// The label of the cluster that it was imported from; empty for this one.
    pub cluster: &'n [u8],
}

/// A ready endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Member<'m> {
    /// Where it is.
    pub address: IpAddr,
    /// Whether an endpoint before it has the same name and address.
    pub repeated: bool,
    endpoint: &'m Endpoint,
    spot: &'m Spot,
    cluster: Option<&'m str>,
    pod_names: bool,
}

/// Where in the slices a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    endpoint: u32,
    slice: u16,
    repeated: bool,
    /// Whether an endpoint before it has the same name.
    namesake: bool,
}

impl Members {
    /// The members of a Service's slices. Without a ready endpoint, and where that is asked for,
    /// those count that still serve while they end.
    pub fn of<'s>(slices: impl Iterator<Item = &'s Arc<EndpointSlice>>, options: &Options) -> Self {
        let slices: Vec<&Arc<EndpointSlice>> = slices.collect();
        let members = Self::chosen(&slices, options, |endpoint| endpoint.ready);
        if members.is_empty() && options.terminating {
            return Self::chosen(&slices, options, |endpoint| endpoint.serving && endpoint.terminating);
        }
        members
    }

    fn chosen(slices: &[&Arc<EndpointSlice>], options: &Options, choose: impl Fn(&Endpoint) -> bool) -> Self {
        let with_some = slices.iter().filter(|slice| slice.endpoints.iter().any(&choose));
        // A Service of more slices than this would have millions of endpoints.
        let slices: SmallVec<[Arc<EndpointSlice>; 1]> =
            with_some.take(usize::from(u16::MAX)).copied().cloned().collect();
        let mut list = Vec::with_capacity(slices.iter().map(|slice| slice.endpoints.len()).sum());
        for (slice, of) in (0_u16..).zip(&slices) {
            let numbered = (0_u32..).zip(&of.endpoints).filter(|(_, endpoint)| choose(endpoint));
            list.extend(numbered.map(|(endpoint, _)| Spot {
                endpoint,
                slice,
                repeated: false,
                namesake: false,
            }));
        }
        let (pod_names, zonal) = (options.endpoint_pod_names, options.zonal);
        let mut members = Self { slices, list: list.into(), by_name: Box::default(), pod_names, zonal };
        members.arrange();
        members
    }

    fn arrange(&mut self) {
        let numbers = (0_u32..).zip(self.iter());
        let mut by_name: Vec<(u32, u32)> =
            numbers.map(|(number, member)| (short_hash(&member.label().folded()), number)).collect();
        by_name.sort_unstable();
        for place in 1..by_name.len() {
            let (hash, number) = by_name[place];
            let before = by_name[..place].iter().rev().take_while(|(other, _)| *other == hash);
            let number = number as usize;
            let member = self.member(&self.list[number]);
            let label = member.label();
            let (mut namesake, mut repeated) = (false, false);
            for (_, other) in before {
                let other = self.member(&self.list[*other as usize]);
                let same = other.cluster == member.cluster && *other.label().folded() == *label.folded();
                namesake |= same;
                repeated |= same && other.address == member.address;
            }
            self.list[number].namesake = namesake;
            self.list[number].repeated = repeated;
        }
        if by_name.len() > UNSORTED_MAX {
            self.by_name = by_name.into();
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> + Clone {
        self.list.iter().map(|spot| self.member(spot))
    }

    /// The one at a place in the list.
    pub fn at(&self, place: usize) -> Option<Member<'_>> {
        self.list.get(place).map(|spot| self.member(spot))
    }

    /// Those of a name, in the order of the list.
    pub fn named<'m>(&'m self, name: MemberName<'m>) -> impl Iterator<Item = Member<'m>> + Clone {
        let candidates = self.candidates(name.label).map(|spot| self.member(spot));
        candidates.filter(move |member| *member.label().folded() == *name.label && member.is_of(name.cluster))
    }

    /// Whether one was imported from a cluster, whose id is in lower case.
    pub fn has_cluster(&self, id: &[u8]) -> bool {
        !id.is_empty() && self.iter().any(|member| member.is_of(id))
    }

    /// The ports that a member listens on.
    pub fn ports_of(&self, member: Member<'_>) -> &[Port] {
        &self.slices[usize::from(member.spot.slice)].ports
    }

    /// The ports of all slices that have a ready endpoint.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.slices.iter().flat_map(|slice| &slice.ports)
    }

    /// Those of the same name that come before a member.
    pub fn before<'m>(&'m self, member: Member<'m>) -> impl Iterator<Item = Member<'m>> {
        // Nearly every name is its own, and then there is nothing to look for.
        let label = member.spot.namesake.then(|| member.label().folded());
        let candidates = label.as_deref().map(|label| self.candidates(label)).into_iter().flatten();
        let earlier = candidates.take_while(move |other| !std::ptr::eq(*other, member.spot));
        let earlier = earlier.map(|spot| self.member(spot));
        earlier.filter(move |other| {
            let same = label.as_deref().is_some_and(|label| *other.label().folded() == *label);
            same && other.cluster == member.cluster
        })
    }

    /// Those that may have a name in lower case, in the order of the list.
    fn candidates<'m>(&'m self, name: &[u8]) -> impl Iterator<Item = &'m Spot> + Clone + use<'m> {
        let few = self.by_name.is_empty().then_some(&self.list).into_iter().flatten();
        let hash = if self.by_name.is_empty() { 0 } else { short_hash(name) };
        let start = self.by_name.partition_point(|(other, _)| *other < hash);
        let many = self.by_name[start..].iter().take_while(move |(other, _)| *other == hash);
        few.chain(many.map(|(_, number)| &self.list[*number as usize]))
    }

    fn member<'m>(&'m self, spot: &'m Spot) -> Member<'m> {
        let slice = &self.slices[usize::from(spot.slice)];
        let endpoint = &slice.endpoints[spot.endpoint as usize];
        let (address, repeated, cluster) = (endpoint.address, spot.repeated, slice.cluster.as_deref());
        Member { address, repeated, endpoint, spot, cluster, pod_names: self.pod_names }
    }
}

/// Equal in what names can tell; slices say more.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (Member<'_>, Member<'_>)| {
            let zone = !self.zonal || one.endpoint.zone() == other.endpoint.zone();
            let slice = one.spot.slice == other.spot.slice;
            let name = one.host() == other.host() && one.cluster == other.cluster;
            one.address == other.address && name && zone && slice
        };
        let ports =
            |members: &Self| members.slices.iter().map(|slice| slice.ports.clone()).collect::<Vec<_>>();
        self.list.len() == other.list.len()
            && self.iter().zip(other.iter()).all(same)
            && ports(self) == ports(other)
    }
}

impl Eq for Members {}

impl<'m> Member<'m> {
    /// Whether both are in the same slice.
    pub fn is_in_slice_of(self, other: Self) -> bool {
        self.spot.slice == other.spot.slice
    }

    /// Whether it is in the zone that labels in lower case spell; zones may hold dots.
    pub fn is_in_zone<'l>(self, labels: impl Iterator<Item = &'l [u8]>) -> bool {
        let zone = self.endpoint.zone().unwrap_or_default();
        let same = |(part, label): (&str, &[u8])| part.as_bytes().eq_ignore_ascii_case(label);
        let labels: Vec<&[u8]> = labels.collect();
        zone.split('.').count() == labels.len() && zone.split('.').zip(labels).all(same)
    }

    /// The name of the endpoint: its hostname, or its address with dashes.
    pub fn label(self) -> Label {
        match self.host() {
            Some(host) => Label::of_host(host),
            None => Label::of_address(self.address),
        }
    }

    /// Its labels left of the Service's name, appended with their length octets.
    pub fn push_name(self, out: &mut Vec<u8>) {
        self.label().push_to(out);
        if let Some(cluster) = self.cluster {
            out.push(u8::try_from(cluster.len()).unwrap_or_default());
            out.extend_from_slice(cluster.as_bytes());
        }
    }

    /// How many octets that is.
    pub fn name_length(self) -> usize {
        1 + self.label().octets().len() + self.cluster.map_or(0, |cluster| 1 + cluster.len())
    }

    /// Whether it was imported from a cluster, whose id is in lower case; the empty id is this one's.
    fn is_of(self, cluster: &[u8]) -> bool {
        self.cluster.unwrap_or_default().as_bytes().eq_ignore_ascii_case(cluster)
    }

    /// The endpoint's own name. One that is no label is passed over, as if there were none.
    fn host(self) -> Option<&'m str> {
        let pod = self.endpoint.pod.as_deref().filter(|_| self.pod_names);
        let names = self.endpoint.hostname.as_deref().into_iter().chain(pod);
        names.into_iter().find(|name| (1..=LABEL_MAX).contains(&name.len()))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn short_hash(name: &[u8]) -> u32 {
    HASHER.hash_one(name) as u32
}
