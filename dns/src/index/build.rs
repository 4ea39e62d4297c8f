//! Snapshots into indexes, doing again only what changed.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use seaway_cluster::{ServiceName, Snapshot};

use super::entry::Unnamed;
use super::reverse::{Added, Owner};
use super::{Entry, HASHER, Index, NameServer, PodAddress, Port};
use crate::options::{Options, PodNames};

/// Makes one index after the other from the snapshots of a source.
#[derive(Debug)]
pub struct Builder {
    options: Arc<Options>,
    snapshot: Arc<Snapshot>,
    index: Arc<Index>,
}

impl Builder {
    /// Begins without facts: until the first update the index is not synced.
    pub fn new(options: Arc<Options>) -> Self {
        Self { options, snapshot: Arc::default(), index: Arc::default() }
    }

    /// The index of the last snapshot.
    pub fn current(&self) -> &Arc<Index> {
        &self.index
    }

    /// The index of `snapshot`, and the Services that newly turned out to have no name. The serial
    /// becomes `now_s`, seconds since 1970, or one more than the last if that is not later; it
    /// stays if no answer changed.
    pub fn update(&mut self, snapshot: Arc<Snapshot>, now_s: u32) -> (Arc<Index>, Vec<Unnamed>) {
        let mut index = Index::clone(&self.index);
        let namespaces = visible(&snapshot, &self.options);
        if *index.namespaces != namespaces {
            index.namespaces = Arc::new(namespaces);
        }
        let mut unnamed = Vec::new();
        let mut change = Change::default();
        let mut ports: Arc<[Port]> = Arc::default();
        for name in self.touched(&snapshot, &index) {
            let entry = match self.entry(&snapshot, &index, &name) {
                None => None,
                Some(Ok(mut entry)) => {
                    // Many Services have the same ports as the one before.
                    if entry.ports == ports {
                        entry.ports = Arc::clone(&ports);
                    }
                    ports = Arc::clone(&entry.ports);
                    Some(Arc::new(entry))
                }
                Some(Err(error)) => {
                    unnamed.push(error);
                    None
                }
            };
            index.put(&name, entry, &mut change);
        }
        if !change.slots.is_empty() {
            change.slots.sort_unstable();
            let gone = |slot| change.slots.binary_search(&slot).is_ok();
            index.reverse = Arc::new(index.reverse.replace(gone, change.owners));
            if self.options.external_ttl_s.is_some() {
                index.outside = Arc::new(index.outside.replace(gone, change.outside));
            }
        }
        if self.options.pods == PodNames::Verified {
            let pods = pods(&snapshot);
            if *index.pods != pods {
                index.pods = Arc::new(pods);
            }
        }
        index.servers = name_servers(&index, &self.options.local_ips);
        let altered = !change.slots.is_empty()
            || !Arc::ptr_eq(&index.namespaces, &self.index.namespaces)
            || !Arc::ptr_eq(&index.pods, &self.index.pods);
        if altered || !index.synced {
            index.serial = now_s.max(index.serial.wrapping_add(1));
        }
        index.synced = true;
        self.snapshot = snapshot;
        self.index = Arc::new(index);
        (Arc::clone(&self.index), unnamed)
    }

    /// The Services whose entries may differ.
    fn touched(&self, snapshot: &Snapshot, index: &Index) -> BTreeSet<ServiceName> {
        let changed = snapshot.changed_services(&self.snapshot);
        let mut names: BTreeSet<ServiceName> = changed.into_iter().cloned().collect();
        let moved: HashSet<&Box<[u8]>> =
            index.namespaces.symmetric_difference(&self.index.namespaces).collect();
        if !moved.is_empty() {
            let of_moved = |name: &&ServiceName| moved.contains(&folded(&name.namespace));
            names.extend(snapshot.services.keys().filter(of_moved).cloned());
        }
        names
    }

    fn entry(
        &self,
        snapshot: &Snapshot,
        index: &Index,
        name: &ServiceName,
    ) -> Option<Result<Entry, Unnamed>> {
        let service =
            snapshot.services.get(name).filter(|service| self.options.labels.fits(&service.labels))?;
        let visible = index.has_namespace(&folded(&name.namespace));
        Some(Entry::of(service, snapshot.slices_of(name), visible, &self.options))
    }
}

/// What an update changed.
#[derive(Default)]
struct Change {
    slots: Vec<u32>,
    owners: Added,
    outside: Added,
}

impl Index {
    /// Puts the entry of a Service in force, or removes it.
    fn put(&mut self, name: &ServiceName, entry: Option<Arc<Entry>>, change: &mut Change) {
        let key = key(name);
        let hash = HASHER.hash_one(&*key);
        let entries = &self.entries;
        let of_name = |slot: &u32| {
            let there = entries[*slot as usize].as_ref();
            there.is_some_and(|there| there.key().eq_ignore_ascii_case(&key))
        };
        let slot = match (self.slots.find_entry(hash, of_name), &entry) {
            (Err(_), None) => return,
            (Ok(found), Some(entry)) => {
                let slot = *found.get();
                let same = self.entries[slot as usize].as_ref() == Some(entry);
                if same {
                    // Taken over all the same, so that the facts before it can go.
                    self.entries[slot as usize] = Some(Arc::clone(entry));
                    return;
                }
                slot
            }
            (Ok(found), None) => {
                let slot = found.remove().0;
                self.free.push(slot);
                slot
            }
            (Err(_), Some(_)) => {
                let Some(slot) = self.free.pop().or_else(|| u32::try_from(self.entries.len()).ok()) else {
                    return;
                };
                if slot as usize == self.entries.len() {
                    self.entries.push(None);
                }
                let entries = &self.entries;
                let rehash = |slot: &u32| {
                    let there = entries[*slot as usize].as_ref();
                    there.map_or(0, |there| HASHER.hash_one(there.key().to_ascii_lowercase().as_slice()))
                };
                self.slots.insert_unique(hash, slot, rehash);
                slot
            }
        };
        change.slots.push(slot);
        if let Some(entry) = &entry {
            change.owners.extend(owners(entry, slot));
            change.outside.extend(outside(entry, slot));
        }
        self.entries[slot as usize] = entry;
    }
}

fn owners(entry: &Entry, slot: u32) -> impl Iterator<Item = (IpAddr, Owner)> {
    let own = entry.addresses.v4.from(0).chain(entry.addresses.v6.from(0));
    let own = own.filter(|_| !entry.headless).filter_map(super::Records::address);
    let own = own.map(move |address| (address, Owner::service(slot)));
    let members = entry.members.iter().enumerate().filter(|(_, member)| !member.repeated);
    own.chain(
        members.filter_map(move |(place, member)| Some((member.address, Owner::endpoint(slot, place)?))),
    )
}

fn outside(entry: &Entry, slot: u32) -> impl Iterator<Item = (IpAddr, Owner)> {
    let addresses = entry.outside.iter().map(|outside| &outside.addresses);
    let records = addresses.flat_map(|addresses| addresses.v4.from(0).chain(addresses.v6.from(0)));
    records.filter_map(super::Records::address).map(move |address| (address, Owner::service(slot)))
}

fn visible(snapshot: &Snapshot, options: &Options) -> HashSet<Box<[u8]>> {
    let allowed = |name: &&Arc<str>| options.namespaces.is_empty() || options.namespaces.contains(*name);
    let selected =
        snapshot.namespaces.values().filter(|object| options.namespace_labels.fits(&object.labels));
    selected.map(|object| &object.name).filter(allowed).map(|name| folded(name)).collect()
}

fn folded(name: &str) -> Box<[u8]> {
    name.as_bytes().to_ascii_lowercase().into()
}

fn key(name: &ServiceName) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
    for label in [&*name.name, &*name.namespace] {
        key.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        key.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    key
}

fn pods(snapshot: &Snapshot) -> Vec<PodAddress> {
    let living = snapshot.pods.values().filter(|pod| !pod.deleting && !pod.finished);
    let addresses = living.flat_map(|pod| {
        pod.addresses.iter().map(|address| PodAddress {
            address: *address,
            namespace: Arc::clone(&pod.name.namespace),
            of_node: pod.host_network,
        })
    });
    let mut pods: Vec<_> = addresses.collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}

fn name_servers(index: &Index, local_ips: &[IpAddr]) -> Vec<NameServer> {
    let mut servers: Vec<NameServer> = Vec::new();
    for address in local_ips.iter().filter(|address| !address.is_loopback()) {
        for owner in index.reverse.owners(*address) {
            let (Some(entry), Some(place)) = (index.entry(owner.slot), owner.member()) else { continue };
            let member = entry.headless.then_some(place);
            let known = |server: &NameServer| Arc::ptr_eq(&server.entry, entry) && server.member == member;
            if !servers.iter().any(known) {
                servers.push(NameServer { entry: Arc::clone(entry), member });
            }
        }
    }
    servers
}
