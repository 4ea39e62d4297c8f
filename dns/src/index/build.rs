//! Snapshots into indexes, doing again only what changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use seaway_cluster::{ServiceName, Snapshot};

use super::entry::Unnamed;
use super::reverse::{Added, Owner};
use super::{Entry, Index, NameServer, PodAddress, Port};
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
            index.put(&name, entry.as_ref(), &mut change);
        }
        let shared = self.update_imports(&snapshot, &mut index, &mut unnamed);
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
        let altered = shared
            || !change.slots.is_empty()
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
        self.with_moved(changed, snapshot.services.keys(), index)
    }

    /// Names that changed, and those of namespaces that came or went.
    fn with_moved<'n>(
        &self,
        changed: BTreeSet<&ServiceName>,
        all: impl Iterator<Item = &'n ServiceName>,
        index: &Index,
    ) -> BTreeSet<ServiceName> {
        let mut names: BTreeSet<ServiceName> = changed.into_iter().cloned().collect();
        let moved: HashSet<&Box<[u8]>> =
            index.namespaces.symmetric_difference(&self.index.namespaces).collect();
        if !moved.is_empty() {
            let of_moved = |name: &&ServiceName| moved.contains(&folded(&name.namespace));
            names.extend(all.filter(of_moved).cloned());
        }
        names
    }

    /// Brings the Services that several clusters share up to date. Returns whether one changed.
    fn update_imports(&self, snapshot: &Snapshot, index: &mut Index, unnamed: &mut Vec<Unnamed>) -> bool {
        if self.options.multicluster.is_empty() {
            return false;
        }
        let changed = snapshot.changed_imports(&self.snapshot);
        let mut altered = false;
        for name in self.with_moved(changed, snapshot.imports.keys(), index) {
            let import = snapshot.imports.get(&name);
            let import = import.filter(|import| self.options.labels.fits(&import.labels));
            let slices = snapshot.imported.get(&name).into_iter().flat_map(|slices| slices.values());
            let visible = index.has_namespace(&folded(&name.namespace));
            let entry = import.and_then(|import| {
                let entry = Entry::of_import(import, slices, visible, &self.options);
                entry.map_err(|error| unnamed.push(error)).ok()
            });
            altered |= index.imports.put(&name, entry.map(Arc::new)).is_some();
        }
        altered
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
    fn put(&mut self, name: &ServiceName, entry: Option<&Arc<Entry>>, change: &mut Change) {
        if let Some(slot) = self.services.put(name, entry.cloned()) {
            change.slots.push(slot);
            if let Some(entry) = entry {
                change.owners.extend(owners(entry, slot));
                change.outside.extend(outside(entry, slot));
            }
        }
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
