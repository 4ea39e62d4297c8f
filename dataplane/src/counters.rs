//! What the programs counted.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::{Map, PerCpuArray};
use bytemuck::Pod;
use seaway_common::{BackendCounters, COUNTER_CELLS, CounterCell, MapName, Reason, ServiceCounters};

use crate::kernel_maps::{error, failed, open_pinned};
use crate::mapped::MappedArray;
use crate::maps::Error;
use crate::raw::Raw;

/// How often a backend is read whose cell changes hands meanwhile.
const TRIES: usize = 8;

/// The counters of pinned maps.
pub struct Counters {
    totals: MappedArray<BackendCounters>,
    cells: PerCpuArray<aya::maps::MapData, Raw<CounterCell>>,
    services: MappedArray<ServiceCounters>,
    reasons: PerCpuArray<aya::maps::MapData, u64>,
}

impl Counters {
    /// Opens the pinned maps in `folder`.
    ///
    /// # Errors
    /// [`Error`] naming the first map that is missing or of another shape.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            totals: memory(folder, MapName::BackendCounters)?,
            cells: array(folder, MapName::CounterCells)?,
            services: memory(folder, MapName::ServiceCounters)?,
            reasons: array(folder, MapName::Reasons)?,
        })
    }

    /// Packets towards a backend, over all CPUs.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn backend(&self, id: u32) -> Result<BackendCounters, Error> {
        let total = || value(&self.totals, MapName::BackendCounters, id);
        let mut found = total()?;
        for _ in 0..TRIES {
            let before = found;
            let cells = self.cells.get(&(id % COUNTER_CELLS), 0);
            let cells = cells.map_err(|e| error(MapName::CounterCells, "lookup", e))?;
            found = total()?;
            let own = cells.iter().filter(|cell| cell.0.backend == id).map(|cell| cell.0.counts);
            let sum = own.fold(found, |sum, one| BackendCounters {
                packets: sum.packets + one.packets,
                bytes: sum.bytes + one.bytes,
            });
            if found == before {
                return Ok(sum);
            }
        }
        // Of a cell that changes hands all the time, little is missing.
        Ok(found)
    }

    /// Choices made for a service port.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn service(&self, id: u32) -> Result<ServiceCounters, Error> {
        value(&self.services, MapName::ServiceCounters, id)
    }

    /// How often a reason was met, over all CPUs.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn reason(&self, reason: Reason) -> Result<u64, Error> {
        let values =
            self.reasons.get(&(reason as u32), 0).map_err(|e| error(MapName::Reasons, "lookup", e))?;
        Ok(values.iter().sum())
    }
}

fn memory<T: Pod>(folder: &Path, name: MapName) -> Result<MappedArray<T>, Error> {
    let data = open_pinned(folder, name)?;
    let len = data.info().map_err(|e| error(name, "info", e))?.max_entries();
    MappedArray::new(data.fd().as_fd(), len).map_err(|source| failed(name, "mmap", source))
}

fn value<T: Pod>(array: &MappedArray<T>, name: MapName, index: u32) -> Result<T, Error> {
    let found = array.get(index as usize).map_err(|source| failed(name, "mmap", source))?;
    found.ok_or_else(|| failed(name, "lookup", io::ErrorKind::NotFound.into()))
}

fn array<V: aya::Pod>(folder: &Path, name: MapName) -> Result<PerCpuArray<aya::maps::MapData, V>, Error> {
    PerCpuArray::try_from(Map::PerCpuArray(open_pinned(folder, name)?)).map_err(|e| error(name, "open", e))
}
