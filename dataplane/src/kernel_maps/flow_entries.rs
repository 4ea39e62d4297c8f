//! The entries of the flow maps, established and half-open ones: looked at, counted, and taken away.

use std::time::Instant;

use aya::maps::IterableMap;
use seaway_common::{Capacities, Config, FlowKey, FlowKeyV4, FlowValue, FlowValueV4, MapName};

use super::{KernelMaps, absent_is_fine, error, failed};
use crate::batch;
use crate::collector::Ticks;
use crate::maps::Error;
use crate::raw::Raw;

impl KernelMaps {
    /// Every flow entry of both families, in no order.
    ///
    /// # Errors
    /// [`Error`] of the flow maps.
    pub fn flows(&self) -> Result<Vec<(FlowKey, FlowValue)>, Error> {
        let mut all = Vec::new();
        self.each_flow(|key, value| all.push((key, value)))?;
        Ok(all)
    }

    /// Removes the flow entries that were idle for too long. Returns how many they were.
    ///
    /// # Errors
    /// [`Error`] of the flow maps.
    pub fn expire_flows(&mut self, config: &Config, ticks: &mut Ticks) -> Result<usize, Error> {
        let gone = self.flows_where(|key, value| {
            let now = Instant::now();
            ticks.note(value.last_seen, now);
            ticks.expired(key, value, config, now)
        })?;
        self.remove_flows(&gone)?;
        Ok(gone.len())
    }

    /// Keys of the flow entries that satisfy a condition.
    pub(super) fn flows_where(
        &self,
        mut wanted: impl FnMut(&FlowKey, &FlowValue) -> bool,
    ) -> Result<Vec<FlowKey>, Error> {
        let mut found = Vec::new();
        self.each_flow(|key, value| {
            if wanted(&key, &value) {
                found.push(key);
            }
        })?;
        Ok(found)
    }

    /// Looks at every flow entry of both families; no more than a batch is held at a time.
    ///
    /// # Errors
    /// [`Error`] of the flow maps.
    pub fn each_flow(&self, mut look: impl FnMut(FlowKey, FlowValue)) -> Result<(), Error> {
        let Capacities { flows_v4, flows_v6, .. } = self.capacities;
        for (name, map, most) in [
            (MapName::FlowsV4, self.flows_v4.map(), flows_v4),
            (MapName::HalfOpenV4, self.half_open_v4.map(), self.capacities.of(MapName::HalfOpenV4)),
        ] {
            batch::for_each(map.fd(), most, |entries| {
                entries.for_each(|(key, value): (FlowKeyV4, FlowValueV4)| look(key.widen(), value.widen()));
            })
            .map_err(|source| failed(name, "batch lookup", source))?;
        }
        for (name, map, most) in [
            (MapName::FlowsV6, self.flows_v6.map(), flows_v6),
            (MapName::HalfOpenV6, self.half_open_v6.map(), self.capacities.of(MapName::HalfOpenV6)),
        ] {
            batch::for_each(map.fd(), most, |entries| entries.for_each(|(key, value)| look(key, value)))
                .map_err(|source| failed(name, "batch lookup", source))?;
        }
        Ok(())
    }

    /// Looks at every flow entry as [`each_flow`](Self::each_flow) does. Returns how many entries were evicted
    /// since the maps were made, because they were full: at least so many, and all of them where no flow
    /// begins or ends meanwhile.
    ///
    /// # Errors
    /// [`Error`] of the flow maps and `FLOW_COUNTS`.
    pub fn each_flow_and_evictions(&self, mut look: impl FnMut(FlowKey, FlowValue)) -> Result<u64, Error> {
        // Whatever was made by now was taken away by the end, or is met on the way, or was evicted.
        let made = self.flow_counter.counts()?.made;
        let mut met = 0;
        self.each_flow(|key, value| {
            met += 1;
            look(key, value);
        })?;
        let removed = self.flow_counter.counts()?.removed;
        Ok(made.saturating_sub(removed).saturating_sub(met))
    }

    /// Removes entries; those that are gone already are as good.
    pub(super) fn remove_flows(&mut self, gone: &[FlowKey]) -> Result<(), Error> {
        // Beforehand: entries that are gone and not counted would look like evicted ones.
        self.flow_counter.note_removed(i64::try_from(gone.len()).unwrap_or(i64::MAX))?;
        let mut absent = 0;
        for key in gone {
            // In either map: a flow may have been established since it was looked at.
            let results = if key.src.is_v4() {
                let key = Raw(FlowKeyV4::narrow(key));
                [
                    (MapName::FlowsV4, self.flows_v4.remove(&key)),
                    (MapName::HalfOpenV4, self.half_open_v4.remove(&key)),
                ]
            } else {
                let key = Raw(*key);
                [
                    (MapName::FlowsV6, self.flows_v6.remove(&key)),
                    (MapName::HalfOpenV6, self.half_open_v6.remove(&key)),
                ]
            };
            absent += i64::from(results.iter().all(|(_, removed)| removed.is_err()));
            for (name, removed) in results {
                absent_is_fine(removed).map_err(|e| error(name, "delete", e))?;
            }
        }
        if absent > 0 {
            self.flow_counter.note_removed(-absent)?;
        }
        Ok(())
    }
}
