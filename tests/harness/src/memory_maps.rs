//! The maps in plain memory.

use std::{
    cell::{Ref, RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    io,
    rc::Rc,
};

use bytemuck::Zeroable;
use seaway_common::{
    Addr, AffinityKey, AffinityValue, BACKEND_SERVING, BackendValue, Capacities, Config, FlowKey, FlowValue,
    MapName, NameValue, SLOTS_PER_VALUE, ServiceKey, ServiceValue, Slice, SourceRangeKey,
};
use seaway_dataplane::{Maps, flows, maps::Error};

/// A handle to maps in memory. A clone is another handle to the same maps, as with the kernel's;
/// [`copy`](Self::copy) makes other maps. Full maps refuse like the kernel's.
#[derive(Clone, Debug)]
pub struct MemoryMaps {
    capacities: Capacities,
    memory: Rc<RefCell<Memory>>,
}

/// What the maps hold. Tests damage it at will.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// `SERVICES`.
    pub frontends: BTreeMap<ServiceKey, ServiceValue>,
    /// `NAMES`.
    pub names: BTreeMap<u32, NameValue>,
    /// `BACKENDS`; what is absent is a hole.
    pub backends: BTreeMap<u32, BackendValue>,
    /// `SLOTS`; what is absent is 0.
    pub slots: BTreeMap<u32, u32>,
    /// `FLOWS_V4` and `FLOWS_V6`.
    pub flows: BTreeMap<FlowKey, FlowValue>,
    /// `ADDRESSES`.
    pub addresses: BTreeMap<Addr, u32>,
    /// `SOURCE_RANGES`.
    pub source_ranges: BTreeSet<SourceRangeKey>,
    /// `AFFINITY`.
    pub affinity: BTreeMap<AffinityKey, AffinityValue>,
    /// `CONFIG`.
    pub config: Config,
}

impl MemoryMaps {
    /// Small enough to be filled, large enough not to be in the way.
    pub const CAPACITIES: Capacities = Capacities {
        frontends: 256,
        services: 256,
        backends: 1024,
        slots: 4096,
        flows_v4: 1024,
        flows_v6: 1024,
        sockets: 1024,
        source_ranges: 256,
        affinity: 1024,
        fragments: 64,
        devices: 64,
    };

    /// Empty maps that hold so much.
    #[must_use]
    pub fn new(capacities: Capacities) -> Self {
        // As in the kernel, nothing is said of the node yet.
        let memory = Memory { config: Config::zeroed(), ..Memory::default() };
        Self { capacities, memory: Rc::new(RefCell::new(memory)) }
    }

    /// Other maps with the same contents.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { capacities: self.capacities, memory: Rc::new(RefCell::new(self.memory.borrow().clone())) }
    }

    /// What they hold.
    #[must_use]
    pub fn memory(&self) -> Ref<'_, Memory> {
        self.memory.borrow()
    }

    /// What they hold, to be changed behind everybody's back.
    #[must_use]
    pub fn memory_mut(&self) -> RefMut<'_, Memory> {
        self.memory.borrow_mut()
    }
}

impl Default for MemoryMaps {
    fn default() -> Self {
        Self::new(Self::CAPACITIES)
    }
}

impl Maps for MemoryMaps {
    fn capacities(&self) -> Capacities {
        self.capacities
    }

    fn frontends(&self) -> Result<Vec<(ServiceKey, ServiceValue)>, Error> {
        Ok(self.memory().frontends.iter().map(|(key, value)| (*key, *value)).collect())
    }

    fn names(&self) -> Result<Vec<(u32, NameValue)>, Error> {
        Ok(self.memory().names.iter().map(|(id, name)| (*id, *name)).collect())
    }

    fn backends(&self) -> Result<Vec<(u32, BackendValue)>, Error> {
        let memory = self.memory();
        let serving = memory.backends.iter().filter(|(_, value)| value.flags & BACKEND_SERVING != 0);
        Ok(serving.map(|(id, value)| (*id, *value)).collect())
    }

    fn slots(&self, slice: Slice) -> Result<Vec<u32>, Error> {
        let end = slice.offset.saturating_add(slice.len).min(self.capacities.slots);
        let memory = self.memory();
        Ok((slice.offset..end).map(|slot| memory.slots.get(&slot).copied().unwrap_or(0)).collect())
    }

    fn addresses(&self) -> Result<Vec<(Addr, u32)>, Error> {
        Ok(self.memory().addresses.iter().map(|(address, bits)| (*address, *bits)).collect())
    }

    fn source_ranges(&self) -> Result<Vec<SourceRangeKey>, Error> {
        Ok(self.memory().source_ranges.iter().copied().collect())
    }

    fn config(&self) -> Result<Config, Error> {
        Ok(self.memory().config)
    }

    fn put_config(&mut self, config: &Config) -> Result<(), Error> {
        self.memory_mut().config = *config;
        Ok(())
    }

    fn put_address(&mut self, address: &Addr, bits: u32) -> Result<(), Error> {
        let mut memory = self.memory_mut();
        let fits =
            memory.addresses.contains_key(address) || has_room(&memory.addresses, self.capacities.frontends);
        fits.then(|| memory.addresses.insert(*address, bits)).ok_or_else(|| full(MapName::Addresses))?;
        Ok(())
    }

    fn remove_address(&mut self, address: &Addr) -> Result<(), Error> {
        self.memory_mut().addresses.remove(address);
        Ok(())
    }

    fn put_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        let mut memory = self.memory_mut();
        let room = memory.source_ranges.len() < self.capacities.source_ranges as usize;
        let fits = room || memory.source_ranges.contains(key);
        fits.then(|| memory.source_ranges.insert(*key)).ok_or_else(|| full(MapName::SourceRanges))?;
        Ok(())
    }

    fn remove_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        self.memory_mut().source_ranges.remove(key);
        Ok(())
    }

    fn forget_affinity(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        let mut memory = self.memory_mut();
        let all = memory.affinity.iter().map(|(key, value)| (*key, *value));
        let bound = flows::bound_to(all, backends);
        for key in &bound {
            memory.affinity.remove(key);
        }
        Ok(bound.len())
    }

    fn put_frontend(&mut self, key: &ServiceKey, value: &ServiceValue) -> Result<(), Error> {
        let mut memory = self.memory_mut();
        let fits =
            memory.frontends.contains_key(key) || has_room(&memory.frontends, self.capacities.frontends);
        fits.then(|| memory.frontends.insert(*key, *value)).ok_or_else(|| full(MapName::Services))?;
        Ok(())
    }

    fn remove_frontend(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.memory_mut().frontends.remove(key);
        Ok(())
    }

    fn put_name(&mut self, service: u32, name: &NameValue) -> Result<(), Error> {
        let mut memory = self.memory_mut();
        let fits = memory.names.contains_key(&service) || has_room(&memory.names, self.capacities.services);
        fits.then(|| memory.names.insert(service, *name)).ok_or_else(|| full(MapName::Names))?;
        Ok(())
    }

    fn remove_name(&mut self, service: u32) -> Result<(), Error> {
        self.memory_mut().names.remove(&service);
        Ok(())
    }

    fn put_backend(&mut self, id: u32, value: &BackendValue) -> Result<(), Error> {
        if id >= self.capacities.backends {
            return Err(full(MapName::Backends));
        }
        let mut memory = self.memory_mut();
        if *value == BackendValue::default() {
            memory.backends.remove(&id);
        } else {
            memory.backends.insert(id, *value);
        }
        Ok(())
    }

    fn put_slots(&mut self, offset: u32, ids: &[u32]) -> Result<(), Error> {
        // As in the kernel's array, the other half of the last value is overwritten.
        let padding = ids.len().next_multiple_of(SLOTS_PER_VALUE as usize) - ids.len();
        let end = u64::from(offset) + (ids.len() + padding) as u64;
        if end > u64::from(self.capacities.slots) {
            return Err(full(MapName::Slots));
        }
        let padded = ids.iter().copied().chain(std::iter::repeat_n(0, padding));
        self.memory_mut().slots.extend((offset..).zip(padded));
        Ok(())
    }

    fn purge_flows(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        let mut memory = self.memory_mut();
        let all = memory.flows.iter().map(|(key, value)| (*key, *value));
        let gone = flows::of_backends(all, backends);
        for key in &gone {
            memory.flows.remove(key);
        }
        Ok(gone.len())
    }
}

fn has_room<K, V>(map: &BTreeMap<K, V>, most: u32) -> bool {
    map.len() < most as usize
}

fn full(map: MapName) -> Error {
    Error { map: map.as_str(), operation: "update", source: io::ErrorKind::StorageFull.into() }
}
