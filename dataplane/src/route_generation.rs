//! The map `ROUTE_GENERATION`: a number that changes when next hops may have changed.
//!
//! Flows keep the next hop that they found, with the number from before the lookup. Where the number is
//! another one now, they look it up again.

use std::path::Path;

use aya::maps::{Array, Map, MapData};
use seaway_common::MapName;

use crate::kernel_maps::{error, open_pinned};
use crate::maps::Error;
use crate::stand_in::now_ns;

/// The map, and the number in it.
pub struct RouteGeneration {
    map: Array<MapData, u64>,
    current: u64,
}

impl RouteGeneration {
    /// Opens the pinned map in `folder`.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::new(open_pinned(folder, MapName::RouteGeneration)?)
    }

    /// Takes over the map.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn new(data: MapData) -> Result<Self, Error> {
        let name = MapName::RouteGeneration;
        let map: Array<MapData, u64> =
            Array::try_from(Map::Array(data)).map_err(|e| error(name, "open", e))?;
        let current = map.get(&0, 0).map_err(|e| error(name, "lookup", e))?;
        Ok(Self { map, current })
    }

    /// Writes another number, which no flow can have kept: it grows, and it is no smaller than the time, so
    /// that an agent with a new map differs from the one before.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn bump(&mut self) -> Result<u64, Error> {
        let next = self.current.wrapping_add(1).max(now_ns());
        self.map.set(0, next, 0).map_err(|e| error(MapName::RouteGeneration, "update", e))?;
        self.current = next;
        Ok(next)
    }
}
