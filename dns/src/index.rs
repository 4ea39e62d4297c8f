//! The facts of a cluster, arranged by the names that they imply.
//!
//! An index is immutable and swapped as a whole, so both families of a name always agree. It is
//! compact: addresses of a Service are kept as finished records, endpoint names as 8 octets beside
//! the endpoint, and what did not change is shared with the index before.

mod build;
mod entries;
mod entry;
mod members;
mod records;
mod reverse;

pub use build::Builder;
pub use entry::{Entry, NamedPort, Outside, Port};
pub use members::{Label, Member, MemberName, Members};
pub use records::{Addresses, Records};
pub use reverse::Reverse;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use entries::Entries;
use hashbrown::{DefaultHashBuilder, HashSet};

/// One state of the cluster, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The zone's serial: grows with every change that alters an answer.
    pub serial: u32,
    /// Whether the source of facts has been read completely once.
    pub synced: bool,
    services: Entries,
    imports: Entries,
    namespaces: Arc<HashSet<Box<[u8]>>>,
    reverse: Arc<Reverse>,
    outside: Arc<Reverse>,
    pods: Arc<Vec<PodAddress>>,
    servers: Vec<NameServer>,
}

/// An address of a living pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodAddress {
    /// The address.
    pub address: IpAddr,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// It is its node's, and says nothing about who uses it.
    pub of_node: bool,
}

/// A name server of the zone: a Service that selects this very server.
#[derive(Clone, Debug)]
pub struct NameServer {
    /// The Service.
    pub entry: Arc<Entry>,
    /// The endpoint, where the Service is headless.
    pub member: Option<usize>,
}

/// Folded octets are hashed with keys of this process, so that nobody can choose names that
/// collide.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

impl Index {
    /// The Service of a key: its name and namespace as labels in lower case.
    pub fn service(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.services.get(key).filter(|entry| entry.visible)
    }

    /// The Service of a key that several clusters share.
    pub fn import(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.imports.get(key).filter(|entry| entry.visible)
    }

    /// Whether a namespace of that name, in lower case, exists and may be asked for.
    pub fn has_namespace(&self, name: &[u8]) -> bool {
        self.namespaces.contains(name)
    }

    /// The Services, in no order, that may be asked for.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.services.iter().filter(|entry| entry.visible)
    }

    /// The Services, in no order, that several clusters share and that may be asked for.
    pub fn imports(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.imports.iter().filter(|entry| entry.visible)
    }

    /// Who has an address: each Service, with the endpoint where it is not the Service's own.
    pub fn owners(&self, address: IpAddr) -> impl Iterator<Item = (&Arc<Entry>, Option<usize>)> {
        let owners = self.reverse.owners(address);
        owners.filter_map(|owner| Some((self.entry(owner.slot)?, owner.member())))
    }

    /// Whether a visible Service has an address from `low` to `high`, both included.
    pub fn has_owner_within(&self, low: IpAddr, high: IpAddr) -> bool {
        let mut owners = self.reverse.range(low, high);
        owners.any(|owner| self.entry(owner.slot).is_some_and(|entry| entry.visible))
    }

    /// Whether a living pod of the namespace, in lower case, has the address.
    pub fn has_pod(&self, namespace: &[u8], address: IpAddr) -> bool {
        self.pods_at(address).iter().any(|pod| pod.namespace.as_bytes().eq_ignore_ascii_case(namespace))
    }

    /// The namespace of the pods that have an address; `None` where it could be several, or where
    /// the address is a node's.
    pub fn sole_namespace(&self, address: IpAddr) -> Option<&Arc<str>> {
        let (first, others) = self.pods_at(address).split_first()?;
        let alone =
            !first.of_node && others.iter().all(|pod| !pod.of_node && pod.namespace == first.namespace);
        alone.then_some(&first.namespace)
    }

    /// The Services that are reached at an address from outside of the cluster.
    pub fn owners_outside(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Entry>> {
        self.outside.owners(address).filter_map(|owner| self.entry(owner.slot))
    }

    /// Whether a visible Service has an outside address from `low` to `high`, both included.
    pub fn has_owner_outside_within(&self, low: IpAddr, high: IpAddr) -> bool {
        let mut owners = self.outside.range(low, high);
        owners.any(|owner| self.entry(owner.slot).is_some_and(|entry| entry.visible))
    }

    fn pods_at(&self, address: IpAddr) -> &[PodAddress] {
        let start = self.pods.partition_point(|pod| pod.address < address);
        let length = self.pods[start..].partition_point(|pod| pod.address == address);
        &self.pods[start..start + length]
    }

    /// The Services that select this server.
    pub fn name_servers(&self) -> &[NameServer] {
        &self.servers
    }

    fn entry(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.services.at(slot)
    }
}
