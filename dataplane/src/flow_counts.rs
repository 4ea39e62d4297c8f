//! The map `FLOW_COUNTS`: flow entries that were made and taken away, and so those that were evicted.

use std::sync::Mutex;

use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use seaway_common::{FLOW_COUNTS_AGENT, FLOW_COUNTS_PROGRAMS, FlowCounts, MapName};

use crate::kernel_maps::error;
use crate::maps::Error;
use crate::raw::Raw;

/// Threads of this process take entries away at the same time.
static ADDING: Mutex<()> = Mutex::new(());

/// The map.
pub(crate) struct FlowCounter {
    map: PerCpuArray<MapData, Raw<FlowCounts>>,
}

impl FlowCounter {
    /// Of a handle to the map.
    pub(crate) fn new(map: MapData) -> Result<Self, Error> {
        let map = PerCpuArray::try_from(Map::PerCpuArray(map));
        Ok(Self { map: map.map_err(|e| error(MapName::FlowCounts, "open", e))? })
    }

    /// What programs and agents counted.
    pub(crate) fn counts(&self) -> Result<FlowCounts, Error> {
        let mut sum = FlowCounts::default();
        for index in [FLOW_COUNTS_PROGRAMS, FLOW_COUNTS_AGENT] {
            let values = self.map.get(&index, 0).map_err(|e| error(MapName::FlowCounts, "lookup", e))?;
            for Raw(counts) in values.iter() {
                sum.made = sum.made.wrapping_add(counts.made);
                sum.removed = sum.removed.wrapping_add(counts.removed);
            }
        }
        Ok(sum)
    }

    /// The agent is about to take so many entries away; a negative number were not there any more.
    pub(crate) fn note_removed(&mut self, count: i64) -> Result<(), Error> {
        let _alone = ADDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let failed = |e| error(MapName::FlowCounts, "lookup", e);
        let mut values = self.map.get(&FLOW_COUNTS_AGENT, 0).map_err(failed)?.to_vec();
        if let Some(Raw(counts)) = values.first_mut() {
            counts.removed = counts.removed.wrapping_add_signed(count);
        }
        let values = PerCpuValues::try_from(values).map_err(|e| failed(e.into()))?;
        self.map.set(FLOW_COUNTS_AGENT, values, 0).map_err(|e| error(MapName::FlowCounts, "update", e))
    }
}
