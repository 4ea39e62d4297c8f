//! Maps that fail on request, and that remember what they showed after every write.

use std::{cell::Cell, collections::BTreeSet, io};

use seaway_common::{
    Addr, BackendValue, Capacities, Config, NameValue, ServiceKey, ServiceValue, Slice, SourceRangeKey,
};
use seaway_dataplane::{Maps, maps::Error};

use crate::Contents;

/// When calls fail.
#[derive(Clone, Copy, Debug, Default)]
pub enum Faults {
    /// Never.
    #[default]
    None,
    /// One call in `every`, reads included, chosen by `seed`.
    OneIn {
        /// How rare faults are.
        every: u64,
        /// The same seed gives the same faults.
        seed: u64,
    },
    /// Every call after so many writes: as far as the maps are concerned, the process is dead.
    AfterWrites(usize),
}

/// Any maps, with faults and a memory. A call that fails changes nothing.
#[derive(Debug)]
pub struct FaultyMaps<M> {
    inner: M,
    faults: Cell<Faults>,
    random: Cell<u64>,
    writes: usize,
    history: Option<Vec<Contents>>,
}

impl<M: Maps> FaultyMaps<M> {
    /// `inner` with faults.
    pub fn new(inner: M, faults: Faults) -> Self {
        let maps = Self { inner, faults: Cell::default(), random: Cell::new(0), writes: 0, history: None };
        maps.set_faults(faults);
        maps
    }

    /// Other faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        if let Faults::OneIn { seed, .. } = faults {
            self.random.set(seed);
        }
        self.faults.set(faults);
    }

    /// Keeps what the maps hold after every write from now on.
    #[must_use]
    pub fn with_history(mut self) -> Self {
        self.history = Some(Vec::new());
        self
    }

    /// The maps themselves.
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    /// Writes that succeeded.
    pub const fn writes(&self) -> usize {
        self.writes
    }

    /// What the maps held after every write since [`with_history`](Self::with_history).
    pub fn history(&self) -> &[Contents] {
        self.history.as_deref().unwrap_or_default()
    }

    fn call(&self) -> Result<(), Error> {
        let fails = match self.faults.get() {
            Faults::None => false,
            Faults::OneIn { every, .. } => self.next_random().is_multiple_of(every),
            Faults::AfterWrites(most) => self.writes >= most,
        };
        if fails {
            return Err(Error {
                map: "FAULTY",
                operation: "call",
                source: io::Error::other("an injected fault"),
            });
        }
        Ok(())
    }

    fn write<T>(&mut self, change: impl FnOnce(&mut M) -> Result<T, Error>) -> Result<T, Error> {
        self.call()?;
        let done = change(&mut self.inner)?;
        self.writes += 1;
        if let Some(history) = &mut self.history {
            history.push(Contents::read(&self.inner)?);
        }
        Ok(done)
    }

    /// `splitmix64`, for faults that look random and are not.
    fn next_random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl<M: Maps> Maps for FaultyMaps<M> {
    fn capacities(&self) -> Capacities {
        self.inner.capacities()
    }

    fn frontends(&self) -> Result<Vec<(ServiceKey, ServiceValue)>, Error> {
        self.call()?;
        self.inner.frontends()
    }

    fn names(&self) -> Result<Vec<(u32, NameValue)>, Error> {
        self.call()?;
        self.inner.names()
    }

    fn backends(&self) -> Result<Vec<(u32, BackendValue)>, Error> {
        self.call()?;
        self.inner.backends()
    }

    fn slots(&self, slice: Slice) -> Result<Vec<u32>, Error> {
        self.call()?;
        self.inner.slots(slice)
    }

    fn addresses(&self) -> Result<Vec<(Addr, u32)>, Error> {
        self.call()?;
        self.inner.addresses()
    }

    fn source_ranges(&self) -> Result<Vec<SourceRangeKey>, Error> {
        self.call()?;
        self.inner.source_ranges()
    }

    fn config(&self) -> Result<Config, Error> {
        self.call()?;
        self.inner.config()
    }

    fn put_config(&mut self, config: &Config) -> Result<(), Error> {
        self.write(|maps| maps.put_config(config))
    }

    fn put_address(&mut self, address: &Addr, bits: u32) -> Result<(), Error> {
        self.write(|maps| maps.put_address(address, bits))
    }

    fn remove_address(&mut self, address: &Addr) -> Result<(), Error> {
        self.write(|maps| maps.remove_address(address))
    }

    fn put_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        self.write(|maps| maps.put_source_range(key))
    }

    fn remove_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error> {
        self.write(|maps| maps.remove_source_range(key))
    }

    fn forget_affinity(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        self.write(|maps| maps.forget_affinity(backends))
    }

    fn put_frontend(&mut self, key: &ServiceKey, value: &ServiceValue) -> Result<(), Error> {
        self.write(|maps| maps.put_frontend(key, value))
    }

    fn remove_frontend(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.write(|maps| maps.remove_frontend(key))
    }

    fn put_name(&mut self, service: u32, name: &NameValue) -> Result<(), Error> {
        self.write(|maps| maps.put_name(service, name))
    }

    fn remove_name(&mut self, service: u32) -> Result<(), Error> {
        self.write(|maps| maps.remove_name(service))
    }

    fn put_backend(&mut self, id: u32, value: &BackendValue) -> Result<(), Error> {
        self.write(|maps| maps.put_backend(id, value))
    }

    fn put_slots(&mut self, offset: u32, ids: &[u32]) -> Result<(), Error> {
        self.write(|maps| maps.put_slots(offset, ids))
    }

    fn purge_flows(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error> {
        self.write(|maps| maps.purge_flows(backends))
    }
}
