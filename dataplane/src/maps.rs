//! What a plan is applied to: the maps, as user space sees them.

use std::collections::BTreeSet;
use std::io;

use seaway_common::{
    Addr, BackendValue, Capacities, Config, NameValue, ServiceKey, ServiceValue, Slice, SourceRangeKey,
};

/// Reads and writes of the maps. Implemented by the kernel's maps, and by plain memory in tests.
pub trait Maps {
    /// How much fits.
    fn capacities(&self) -> Capacities;

    /// Every frontend.
    ///
    /// # Errors
    /// [`Error`]: the map and what was done to it.
    fn frontends(&self) -> Result<Vec<(ServiceKey, ServiceValue)>, Error>;

    /// Every service id that has a name.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn names(&self) -> Result<Vec<(u32, NameValue)>, Error>;

    /// Every backend that is serving, with its id.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn backends(&self) -> Result<Vec<(u32, BackendValue)>, Error>;

    /// The backend ids in a slice; fewer if it reaches beyond the map.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn slots(&self, slice: Slice) -> Result<Vec<u32>, Error>;

    /// Every virtual address with its `ADDRESS_*` bits.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn addresses(&self) -> Result<Vec<(Addr, u32)>, Error>;

    /// Every source range.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn source_ranges(&self) -> Result<Vec<SourceRangeKey>, Error>;

    /// What the programs are told about the node.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn config(&self) -> Result<Config, Error>;

    /// Tells the programs about the node, at once.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_config(&mut self, config: &Config) -> Result<(), Error>;

    /// Writes a virtual address.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_address(&mut self, address: &Addr, bits: u32) -> Result<(), Error>;

    /// Writes virtual addresses. After an error some may be written.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_addresses(&mut self, addresses: &[(Addr, u32)]) -> Result<(), Error> {
        addresses.iter().try_for_each(|(address, bits)| self.put_address(address, *bits))
    }

    /// Removes a virtual address; one that is not there is removed already.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn remove_address(&mut self, address: &Addr) -> Result<(), Error>;

    /// Lets a range of clients use a service's guarded frontends.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error>;

    /// Removes a range; one that is not there is removed already.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn remove_source_range(&mut self, key: &SourceRangeKey) -> Result<(), Error>;

    /// Frees the clients that are bound to these backends. Returns how many they were.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn forget_affinity(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error>;

    /// Writes one frontend, atomically.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_frontend(&mut self, key: &ServiceKey, value: &ServiceValue) -> Result<(), Error>;

    /// Writes frontends, each atomically. After an error some may be written.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_frontends(&mut self, frontends: &[(ServiceKey, ServiceValue)]) -> Result<(), Error> {
        frontends.iter().try_for_each(|(key, value)| self.put_frontend(key, value))
    }

    /// Removes one frontend; one that is not there is removed already.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn remove_frontend(&mut self, key: &ServiceKey) -> Result<(), Error>;

    /// Names service ids. After an error some may be named.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_names(&mut self, names: &[(u32, NameValue)]) -> Result<(), Error> {
        names.iter().try_for_each(|(service, name)| self.put_name(*service, name))
    }

    /// Names a service id.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_name(&mut self, service: u32, name: &NameValue) -> Result<(), Error>;

    /// Removes a name; one that is not there is removed already.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn remove_name(&mut self, service: u32) -> Result<(), Error>;

    /// Writes a backend; one without `BACKEND_SERVING` is as good as none.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_backend(&mut self, id: u32, value: &BackendValue) -> Result<(), Error>;

    /// Writes backend ids into the slots from `offset` on.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn put_slots(&mut self, offset: u32, ids: &[u32]) -> Result<(), Error>;

    /// Removes the UDP flows of these backends, both directions. Returns how many entries went.
    ///
    /// # Errors
    /// As [`frontends`](Self::frontends).
    fn purge_flows(&mut self, backends: &BTreeSet<u32>) -> Result<usize, Error>;
}

/// A failed map operation.
#[derive(Debug, thiserror::Error)]
#[error("map {map}: {operation} failed")]
pub struct Error {
    /// The map's name.
    pub map: &'static str,
    /// What was tried.
    pub operation: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}
