//! How full the maps are, and how much memory they take.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use seaway_common::{
    DeviceValue, FragmentKey, FragmentValue, MapName, SLOTS_PER_VALUE, ServiceValue, SocketKey, SocketValue,
};

use crate::batch;
use crate::installed::Installed;
use crate::kernel_maps::{KernelMaps, error, open_pinned};
use crate::maps::{Error, Maps};

/// How full one map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The map.
    pub map: MapName,
    /// Its entries.
    pub used: usize,
    /// How many it can hold.
    pub capacity: u32,
}

/// Every pinned map in `folder` that can be full.
///
/// # Errors
/// [`Error`] of the first map that cannot be read.
pub fn of(folder: &Path) -> Result<Vec<Usage>, Error> {
    let maps = KernelMaps::open(folder)?;
    let installed = Installed::read(&maps)?;
    let capacities = maps.capacities();
    let flows = maps.flows()?;
    let v4 = flows.iter().filter(|(key, _)| key.src.is_v4()).count();
    let used = [
        (MapName::Services, installed.frontends().len()),
        (MapName::Names, installed.keys().count()),
        (MapName::Backends, installed.backends().len()),
        (MapName::Slots, slots(installed.frontends().values())),
        (MapName::Addresses, installed.addresses().len()),
        (MapName::SourceRanges, maps.source_ranges()?.len()),
        (MapName::FlowsV4, v4),
        (MapName::FlowsV6, flows.len() - v4),
        (MapName::Affinity, maps.affinities()?),
        (MapName::Sockets, count::<SocketKey, SocketValue>(folder, MapName::Sockets)?),
        (MapName::Fragments, count::<FragmentKey, FragmentValue>(folder, MapName::Fragments)?),
        (MapName::Devices, count::<u32, DeviceValue>(folder, MapName::Devices)?),
    ];
    let capacity = |map| match map {
        MapName::Slots => capacities.slots,
        map => capacities.of(map),
    };
    Ok(used.map(|(map, used)| Usage { map, used, capacity: capacity(map) }).into())
}

/// Bytes of memory that the kernel says a pinned map takes (`memlock` of its file descriptor).
///
/// # Errors
/// [`Error`] of the map.
pub fn bytes(folder: &Path, map: MapName) -> Result<u64, Error> {
    let data = open_pinned(folder, map)?;
    let info = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
    let failed = |source| Error { map: map.as_str(), operation: "fdinfo", source };
    let text = fs::read_to_string(info).map_err(failed)?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    Ok(bytes.unwrap_or(0))
}

/// Slots in use: those of lists and tables, each once, as they are given out.
fn slots<'a>(frontends: impl Iterator<Item = &'a ServiceValue>) -> usize {
    let slices = |value: &ServiceValue| [value.cluster, value.local, value.cluster_table, value.local_table];
    let all: BTreeSet<_> = frontends.flat_map(slices).filter(|slice| slice.len != 0).collect();
    all.iter().map(|slice| slice.len.next_multiple_of(SLOTS_PER_VALUE) as usize).sum()
}

fn count<K: bytemuck::Pod, V: bytemuck::Pod>(folder: &Path, map: MapName) -> Result<usize, Error> {
    let data = open_pinned(folder, map)?;
    let most = data.info().map_err(|e| error(map, "info", e))?.max_entries();
    let mut found = 0;
    batch::for_each::<K, V>(data.fd(), most, |entries| found += entries.count()).map_err(|source| Error {
        map: map.as_str(),
        operation: "batch lookup",
        source,
    })?;
    Ok(found)
}
