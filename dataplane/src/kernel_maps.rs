//! The kernel's maps behind the [`Maps`] trait.

mod flow_entries;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::lpm_trie::{Key as TrieKey, LpmTrie};
use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError};
use bytemuck::{Pod, Zeroable};
use seaway_common::{
    ABI_VERSION, Addr, AffinityKey, AffinityValue, BACKEND_SERVING, BackendValue, Capacities, Config,
    FlowKey, FlowKeyV4, FlowValue, FlowValueV4, MapName, Meta, NameValue, SLOTS_PER_VALUE, ServiceKey,
    ServiceValue, Slice, SlotValue, SourceRangeKey,
};

use crate::batch;
use crate::flow_counts::FlowCounter;
use crate::flows;
use crate::mapped::MappedArray;
use crate::maps::{Error, Maps};
use crate::raw::Raw;

/// The maps that plans are applied to.
pub struct KernelMaps {
    meta: Array<MapData, Raw<Meta>>,
    services: HashMap<MapData, Raw<ServiceKey>, Raw<ServiceValue>>,
    names: HashMap<MapData, u32, Raw<NameValue>>,
    flows_v4: HashMap<MapData, Raw<FlowKeyV4>, Raw<FlowValueV4>>,
    flows_v6: HashMap<MapData, Raw<FlowKey>, Raw<FlowValue>>,
    half_open_v4: HashMap<MapData, Raw<FlowKeyV4>, Raw<FlowValueV4>>,
    half_open_v6: HashMap<MapData, Raw<FlowKey>, Raw<FlowValue>>,
    flow_counter: FlowCounter,
    config: Array<MapData, Raw<Config>>,
    addresses: HashMap<MapData, Raw<Addr>, u32>,
    source_ranges: LpmTrie<MapData, Raw<RangeBits>, u32>,
    affinity: HashMap<MapData, Raw<AffinityKey>, Raw<AffinityValue>>,
    slots: MappedArray<SlotValue>,
    backends: MappedArray<BackendValue>,
    capacities: Capacities,
}

/// What follows the length in a [`SourceRangeKey`].
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RangeBits {
    service: u32,
    addr: [u32; 4],
}

impl KernelMaps {
    /// Opens the pinned maps in `folder`.
    ///
    /// # Errors
    /// [`Error`] naming the first map that is missing or of another shape.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let map = |name: MapName| open_pinned(folder, name);
        Self::new(map)
    }

    /// From handles to the maps, by name.
    pub(crate) fn new(map: impl Fn(MapName) -> Result<MapData, Error>) -> Result<Self, Error> {
        let slots = map(MapName::Slots)?;
        let backends = map(MapName::Backends)?;
        let services = map(MapName::Services)?;
        let names = map(MapName::Names)?;
        let flows_v4 = map(MapName::FlowsV4)?;
        let flows_v6 = map(MapName::FlowsV6)?;
        let source_ranges = map(MapName::SourceRanges)?;
        let affinity = map(MapName::Affinity)?;
        let size = |name: MapName, data: &MapData| {
            data.info().map(|info| info.max_entries()).map_err(|e| error(name, "info", e))
        };
        let capacities = Capacities {
            frontends: size(MapName::Services, &services)?,
            services: size(MapName::Names, &names)?,
            backends: size(MapName::Backends, &backends)?,
            slots: size(MapName::Slots, &slots)?.saturating_mul(SLOTS_PER_VALUE),
            flows_v4: size(MapName::FlowsV4, &flows_v4)?,
            flows_v6: size(MapName::FlowsV6, &flows_v6)?,
            sockets: size(MapName::Sockets, &map(MapName::Sockets)?)?,
            source_ranges: size(MapName::SourceRanges, &source_ranges)?,
            affinity: size(MapName::Affinity, &affinity)?,
            fragments: size(MapName::Fragments, &map(MapName::Fragments)?)?,
            devices: size(MapName::Devices, &map(MapName::Devices)?)?,
        };
        Ok(Self {
            meta: Array::try_from(Map::Array(map(MapName::Meta)?))
                .map_err(|e| error(MapName::Meta, "open", e))?,
            config: Array::try_from(Map::Array(map(MapName::Config)?))
                .map_err(|e| error(MapName::Config, "open", e))?,
            addresses: hash(MapName::Addresses, map(MapName::Addresses)?)?,
            source_ranges: LpmTrie::try_from(Map::LpmTrie(source_ranges))
                .map_err(|e| error(MapName::SourceRanges, "open", e))?,
            affinity: lru(MapName::Affinity, affinity)?,
            services: hash(MapName::Services, services)?,
            names: hash(MapName::Names, names)?,
            slots: memory(MapName::Slots, &slots, capacities.slots / SLOTS_PER_VALUE)?,
            backends: memory(MapName::Backends, &backends, capacities.backends)?,
            flows_v4: lru(MapName::FlowsV4, flows_v4)?,
            flows_v6: lru(MapName::FlowsV6, flows_v6)?,
            half_open_v4: lru(MapName::HalfOpenV4, map(MapName::HalfOpenV4)?)?,
            half_open_v6: lru(MapName::HalfOpenV6, map(MapName::HalfOpenV6)?)?,
            flow_counter: FlowCounter::new(map(MapName::FlowCounts)?)?,
            capacities,
        })
    }

    /// Layout version of these maps; 0 for maps that were just made.
    ///
    /// # Errors
    /// [`Error`] of the map `META`.
    pub fn abi_version(&self) -> Result<u32, Error> {
        let meta = self.meta.get(&0, 0).map_err(|e| error(MapName::Meta, "lookup", e))?;
        Ok(meta.0.abi_version)
    }

    /// Marks the maps as being of this build's layout.
    ///
    /// # Errors
    /// [`Error`] of the map `META`.
    pub fn set_abi_version(&mut self) -> Result<(), Error> {
        let meta = Raw(Meta { abi_version: ABI_VERSION, _pad: 0 });
        self.meta.set(0, meta, 0).map_err(|e| error(MapName::Meta, "update", e))
    }

    /// How many clients are bound to an endpoint.
    ///
    /// # Errors
    /// [`Error`] of the map `AFFINITY`.
    pub fn affinities(&self) -> Result<usize, Error> {
        let all: Vec<(AffinityKey, AffinityValue)> =
            self.all(MapName::Affinity, self.affinity.map(), self.capacities.affinity)?;
        Ok(all.len())
    }

    fn all<K: Pod, V: Pod>(&self, name: MapName, map: &MapData, most: u32) -> Result<Vec<(K, V)>, Error> {
        batch::entries(map.fd(), most).map_err(|source| failed(name, "batch lookup", source))
    }
}

impl Maps for KernelMaps {
    fn capacities(&self) -> Capacities {
        self.capacities
    }

    fn frontends(&self) -> Result<Vec<(ServiceKey, ServiceValue)>, Error> {
        self.all(MapName::Services, self.services.map(), self.capacities.frontends)
    }

    fn names(&self) -> Result<Vec<(u32, NameValue)>, Error> {
        self.all(MapName::Names, self.names.map(), self.capacities.services)
    }

    fn backends(&self) -> Result<Vec<(u32, BackendValue)>, Error> {
        let mut serving = Vec::new();
        let read = self.backends.for_each(|id, value: BackendValue| {
            if value.flags & BACKEND_SERVING != 0 {
                serving.push((id, value));
            }
        });
        read.map_err(|source| failed(MapName::Backends, "batch lookup", source))?;
        Ok(serving)
    }

    fn slots(&self, slice: Slice) -> Result<Vec<u32>, Error> {
        let range = slice.offset..slice.offset.saturating_add(slice.len);
        let slot = |index: u32| {
            let value = self.slots.get((index / SLOTS_PER_VALUE) as usize).transpose()?;
            Some(value.map(|value| value.ids[(index % SLOTS_PER_VALUE) as usize]))
        };
        let slots: io::Result<Vec<u32>> = range.map_while(slot).collect();
        slots.map_err(|source| failed(MapName::Slots, "mmap", source))
    }

    fn addresses(&self) -> Result<Vec<(Addr, u32)>, Error> {
        self.all(MapName::Addresses, self.addresses.map(), self.capacities.frontends)
    }

    fn source_ranges(&self) -> Result<Vec<SourceRangeKey>, Error> {
        // Tries have batch operations from 5.13 on only in part: one by one, there are few.
        let keys = self.source_ranges.keys().collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|e| error(MapName::SourceRanges, "iterate", e))?;
        Ok(keys.iter().map(range_of).collect())
    }

    fn config(&self) -> Result<Config, Error> {
        self.config.get(&0, 0).map(|config| config.0).map_err(|e| error(MapName::Config, "lookup", e))
    }

    fn put_config(&mut self, config: &Config) -> Result<(), Error> {
        self.config.set(0, Raw(*config), 0).map_err(|e| error(MapName::Config, "update", e))
    }

    fn put_address(&mut self, address: &Addr, bits: u32) -> Result<(), Error> {
        self.addresses.insert(Raw(*address), bits, 0).map_err(|e| error(MapName::Addresses, "update", e))
    }

    fn remove_address(&mut self, address: &Addr) -> Result<(), Error> {
        absent_is_fine(self.addresses.remove(&Raw(*address)))
            .map_err(|e| error(MapName::Addresses, "delete", e))
    }

    fn put_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        self.source_ranges.insert(&trie_key(key), 0, 0).map_err(|e| error(MapName::SourceRanges, "update", e))
    }

    fn remove_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        absent_is_fine(self.source_ranges.remove(&trie_key(key)))
            .map_err(|e| error(MapName::SourceRanges, "delete", e))
    }

    fn forget_affinity(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        let all: Vec<(AffinityKey, AffinityValue)> =
            self.all(MapName::Affinity, self.affinity.map(), self.capacities.affinity)?;
        let bound = flows::bound_to(all, backends);
        for key in &bound {
            absent_is_fine(self.affinity.remove(&Raw(*key)))
                .map_err(|e| error(MapName::Affinity, "delete", e))?;
        }
        Ok(bound.len())
    }

    fn put_frontend(&mut self, key: &ServiceKey, value: &ServiceValue) -> Result<(), Error> {
        self.services.insert(Raw(*key), Raw(*value), 0).map_err(|e| error(MapName::Services, "update", e))
    }

    fn put_frontends(&mut self, frontends: &[(ServiceKey, ServiceValue)]) -> Result<(), Error> {
        update(MapName::Services, self.services.map(), frontends)
    }

    fn put_addresses(&mut self, addresses: &[(Addr, u32)]) -> Result<(), Error> {
        update(MapName::Addresses, self.addresses.map(), addresses)
    }

    fn put_names(&mut self, names: &[(u32, NameValue)]) -> Result<(), Error> {
        update(MapName::Names, self.names.map(), names)
    }

    fn remove_frontend(&mut self, key: &ServiceKey) -> Result<(), Error> {
        absent_is_fine(self.services.remove(&Raw(*key))).map_err(|e| error(MapName::Services, "delete", e))
    }

    fn put_name(&mut self, service: u32, name: &NameValue) -> Result<(), Error> {
        self.names.insert(service, Raw(*name), 0).map_err(|e| error(MapName::Names, "update", e))
    }

    fn remove_name(&mut self, service: u32) -> Result<(), Error> {
        absent_is_fine(self.names.remove(&service)).map_err(|e| error(MapName::Names, "delete", e))
    }

    fn put_backend(&mut self, id: u32, value: &BackendValue) -> Result<(), Error> {
        self.backends.set(id as usize, *value).map_err(|source| failed(MapName::Backends, "store", source))
    }

    fn put_slots(&mut self, offset: u32, ids: &[u32]) -> Result<(), Error> {
        let first = (offset / SLOTS_PER_VALUE) as usize;
        if first + ids.len().div_ceil(SLOTS_PER_VALUE as usize) > self.slots.len() {
            return Err(failed(MapName::Slots, "store", io::ErrorKind::StorageFull.into()));
        }
        for (index, chunk) in (first..).zip(ids.chunks(SLOTS_PER_VALUE as usize)) {
            let mut value = SlotValue::default();
            value.ids[..chunk.len()].copy_from_slice(chunk);
            self.slots.set(index, value).map_err(|source| failed(MapName::Slots, "store", source))?;
        }
        Ok(())
    }

    fn purge_flows(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        let gone = self.flows_where(|key, value| flows::belongs(key, value, backends))?;
        self.remove_flows(&gone)?;
        Ok(gone.len())
    }
}

/// Writes many entries of a hash map.
fn update<K: Pod, V: Pod>(name: MapName, map: &MapData, entries: &[(K, V)]) -> Result<(), Error> {
    let (keys, values): (Vec<K>, Vec<V>) = entries.iter().copied().unzip();
    batch::update(map.fd(), &keys, &values).map_err(|source| failed(name, "batch update", source))
}

fn trie_key(key: &SourceRangeKey) -> TrieKey<Raw<RangeBits>> {
    let bits = RangeBits { service: key.service, addr: bytemuck::cast(key.addr) };
    TrieKey::new(key.prefix_len, Raw(bits))
}

fn range_of(key: &TrieKey<Raw<RangeBits>>) -> SourceRangeKey {
    let Raw(RangeBits { service, addr }) = key.data();
    SourceRangeKey { prefix_len: key.prefix_len(), service, addr: bytemuck::cast(addr) }
}

/// A handle to one pinned map.
///
/// # Errors
/// [`Error`] naming the map.
pub(crate) fn open_pinned(folder: &Path, name: MapName) -> Result<MapData, Error> {
    MapData::from_pin(folder.join(name.as_str())).map_err(|e| error(name, "open", e))
}

/// aya's error as ours, with the kernel's answer kept as the source.
pub(crate) fn error(map: MapName, operation: &'static str, error: MapError) -> Error {
    match error {
        MapError::SyscallError(error) => failed(map, operation, error.io_error),
        other => failed(map, operation, io::Error::other(other)),
    }
}

pub(crate) fn failed(map: MapName, operation: &'static str, source: io::Error) -> Error {
    Error { map: map.as_str(), operation, source }
}

fn hash<K: aya::Pod, V: aya::Pod>(name: MapName, data: MapData) -> Result<HashMap<MapData, K, V>, Error> {
    HashMap::try_from(Map::HashMap(data)).map_err(|e| error(name, "open", e))
}

fn lru<K: aya::Pod, V: aya::Pod>(name: MapName, data: MapData) -> Result<HashMap<MapData, K, V>, Error> {
    HashMap::try_from(Map::LruHashMap(data)).map_err(|e| error(name, "open", e))
}

fn memory<T: Pod>(name: MapName, data: &MapData, len: u32) -> Result<MappedArray<T>, Error> {
    MappedArray::new(data.fd().as_fd(), len).map_err(|source| failed(name, "mmap", source))
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
