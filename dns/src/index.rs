//! The facts of a cluster, arranged by the names that they imply.
//!
//! An index is immutable and swapped as a whole, so both families of a name always agree. It is
//! compact: addresses of a Service are kept as finished records, endpoint names as 8 octets beside
//! the endpoint, and what did not change is shared with the index before.

mod build;
mod entry;
mod members;
mod records;
mod reverse;

pub use build::Builder;
pub use entry::{Entry, Port};
pub use members::{Label, Member, Members};
pub use records::{Addresses, Records};
pub use reverse::Reverse;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

/// One state of the cluster, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The zone's serial: grows with every change that alters an answer.
    pub serial: u32,
    /// Whether the source of facts has been read completely once.
    pub synced: bool,
    slots: HashTable<u32>,
    entries: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
    namespaces: Arc<HashSet<Box<[u8]>>>,
    reverse: Arc<Reverse>,
    pods: Arc<Vec<(IpAddr, Arc<str>)>>,
    servers: Vec<NameServer>,
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
        let slot = self.slots.find(HASHER.hash_one(key), |slot| {
            self.entry(*slot).is_some_and(|entry| entry.key().eq_ignore_ascii_case(key))
        })?;
        self.entry(*slot).filter(|entry| entry.visible)
    }

    /// Whether a namespace of that name, in lower case, exists and may be asked for.
    pub fn has_namespace(&self, name: &[u8]) -> bool {
        self.namespaces.contains(name)
    }

    /// The Services, in no order, that may be asked for.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().flatten().filter(|entry| entry.visible)
    }

    /// Who has an address: each Service, with the endpoint where it is not the Service's own.
    pub fn owners(&self, address: IpAddr) -> impl Iterator<Item = (&Arc<Entry>, Option<usize>)> {
        let owners = self.reverse.owners(address).iter();
        owners.filter_map(|owner| Some((self.entry(owner.slot)?, owner.member())))
    }

    /// Whether a visible Service has an address from `low` to `high`, both included.
    pub fn has_owner_within(&self, low: IpAddr, high: IpAddr) -> bool {
        let owners = self.reverse.range(low, high).iter();
        owners.filter_map(|owner| self.entry(owner.slot)).any(|entry| entry.visible)
    }

    /// Whether a living pod of the namespace, in lower case, has the address.
    pub fn has_pod(&self, namespace: &[u8], address: IpAddr) -> bool {
        let start = self.pods.partition_point(|(of_pod, _)| *of_pod < address);
        let pods = self.pods[start..].iter().take_while(|(of_pod, _)| *of_pod == address);
        pods.into_iter().any(|(_, of_pod)| of_pod.as_bytes().eq_ignore_ascii_case(namespace))
    }

    /// The Services that select this server.
    pub fn name_servers(&self) -> &[NameServer] {
        &self.servers
    }

    fn entry(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.entries.get(slot as usize)?.as_ref()
    }
}
