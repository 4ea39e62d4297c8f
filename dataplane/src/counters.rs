//! What the programs counted.

use std::path::Path;

use aya::maps::{Map, PerCpuArray};
use seaway_common::{BackendCounters, MapName, Reason, ServiceCounters};

use crate::kernel_maps::{error, open_pinned};
use crate::maps::Error;
use crate::raw::Raw;

/// The counters of pinned maps.
pub struct Counters {
    backends: PerCpuArray<aya::maps::MapData, Raw<BackendCounters>>,
    services: PerCpuArray<aya::maps::MapData, Raw<ServiceCounters>>,
    reasons: PerCpuArray<aya::maps::MapData, u64>,
}

impl Counters {
    /// Opens the pinned maps in `folder`.
    ///
    /// # Errors
    /// [`Error`] naming the first map that is missing or of another shape.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            backends: array(folder, MapName::BackendCounters)?,
            services: array(folder, MapName::ServiceCounters)?,
            reasons: array(folder, MapName::Reasons)?,
        })
    }

    /// Packets towards a backend, over all CPUs.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn backend(&self, id: u32) -> Result<BackendCounters, Error> {
        let values = self.backends.get(&id, 0).map_err(|e| error(MapName::BackendCounters, "lookup", e))?;
        Ok(values.iter().fold(BackendCounters::default(), |sum, one| BackendCounters {
            packets: sum.packets + one.0.packets,
            bytes: sum.bytes + one.0.bytes,
        }))
    }

    /// Choices made for a service port, over all CPUs.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn service(&self, id: u32) -> Result<ServiceCounters, Error> {
        let values = self.services.get(&id, 0).map_err(|e| error(MapName::ServiceCounters, "lookup", e))?;
        Ok(values.iter().fold(ServiceCounters::default(), |sum, one| ServiceCounters {
            placed: sum.placed + one.0.placed,
            refused: sum.refused + one.0.refused,
        }))
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

fn array<V: aya::Pod>(folder: &Path, name: MapName) -> Result<PerCpuArray<aya::maps::MapData, V>, Error> {
    PerCpuArray::try_from(Map::PerCpuArray(open_pinned(folder, name)?)).map_err(|e| error(name, "open", e))
}
