//! The map `DEVICES`, kept equal to the node's interfaces.

use std::collections::BTreeMap;
use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use seaway_common::{DeviceValue, MapName};

use crate::kernel_maps::{error, open_pinned};
use crate::links::Links;
use crate::maps::Error;
use crate::raw::Raw;

/// The map and what it holds.
pub struct Devices {
    map: HashMap<MapData, u32, Raw<DeviceValue>>,
    capacity: usize,
    written: BTreeMap<u32, DeviceValue>,
}

impl Devices {
    /// Opens the pinned map in `folder`.
    ///
    /// # Errors
    /// [`Error`] of the map.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::new(open_pinned(folder, MapName::Devices)?)
    }

    /// Takes over the map.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn new(data: MapData) -> Result<Self, Error> {
        let name = MapName::Devices;
        let info = data.info().map_err(|e| error(name, "info", e))?;
        let capacity = info.max_entries() as usize;
        let map: HashMap<MapData, u32, Raw<DeviceValue>> =
            HashMap::try_from(Map::HashMap(data)).map_err(|e| error(name, "open", e))?;
        let entries = map.iter().filter_map(Result::ok).map(|(index, value)| (index, value.0));
        let written = entries.collect();
        Ok(Self { map, capacity, written })
    }

    /// Writes what differs. Returns how many interfaces do not fit, which are left to the
    /// classifiers.
    ///
    /// # Errors
    /// The first map operation that fails.
    pub fn follow(&mut self, links: &Links) -> Result<usize, Error> {
        let gone: Vec<u32> =
            self.written.keys().filter(|index| !links.devices.contains_key(index)).copied().collect();
        for index in gone {
            self.map.remove(&index).map_err(|e| error(MapName::Devices, "delete", e))?;
            self.written.remove(&index);
        }
        let mut left_out = 0;
        for (index, device) in &links.devices {
            if self.written.get(index) == Some(&device.value) {
                continue;
            }
            if self.written.len() >= self.capacity && !self.written.contains_key(index) {
                left_out += 1;
                continue;
            }
            self.map.insert(index, Raw(device.value), 0).map_err(|e| error(MapName::Devices, "update", e))?;
            self.written.insert(*index, device.value);
        }
        Ok(left_out)
    }
}
