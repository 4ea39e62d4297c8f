//! The map `STAND_IN`: up to when a server of this process stands in for a Service's endpoints.
//!
//! The process says so again and again. When it is gone, in whatever way, the programs lead to the
//! Service's own endpoints by themselves.

use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use rustix::time::{ClockId, clock_gettime};
use seaway_common::MapName;

use crate::kernel_maps::{error, open_pinned};
use crate::maps::Error;

/// The map.
pub struct StandIn {
    map: Array<MapData, u64>,
}

impl StandIn {
    /// Opens the pinned map in `folder`.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let map = Map::Array(open_pinned(folder, MapName::StandIn)?);
        Ok(Self { map: Array::try_from(map).map_err(|e| error(MapName::StandIn, "open", e))? })
    }

    /// From now on the server stands in for this long.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn renew(&mut self, time: Duration) -> Result<(), Error> {
        let until = now_ns().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.map.set(0, until, 0).map_err(|e| error(MapName::StandIn, "update", e))
    }

    /// Whether it stands in at this moment.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn holds(&self) -> Result<bool, Error> {
        let until = self.map.get(&0, 0).map_err(|e| error(MapName::StandIn, "lookup", e))?;
        Ok(now_ns() < until)
    }
}

/// The clock of `bpf_ktime_get_ns`.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
