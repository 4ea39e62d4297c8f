//! What stands behind a port's frontends, made before they lead to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use seaway_common::{
    Addr, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, BackendValue, Be16, ServiceKey, ServiceValue, Slice,
};

use super::{Full, Step};
use crate::desired::{Desired, Port, PortKey, Target, backend, proto_number};
use crate::installed::{Installed, InstalledPort};
use crate::maglev;

/// What still fits.
pub(super) struct Room {
    pub(super) frontends: usize,
    pub(super) ranges: usize,
}

/// Steps that bring a port to what it should be.
pub(super) struct Made {
    /// Before the frontends are switched.
    pub(super) prepare: Vec<Step>,
    /// The frontends.
    pub(super) switch: Vec<(ServiceKey, ServiceValue)>,
    /// After that.
    pub(super) finish: Vec<Step>,
    /// The table that did not fit.
    pub(super) without_table: Option<Full>,
    /// How long each table took that was built.
    pub(super) tables: Vec<Duration>,
}

/// The steps for one port, or what ran out. Then nothing is taken.
pub(super) fn make(
    desired: &Desired,
    installed: &mut Installed,
    key: &PortKey,
    port: &Port,
    room: &mut Room,
    now_ms: u64,
) -> Result<Made, Full> {
    let known = installed.port(key).cloned();
    let mut build = Build {
        key,
        port,
        known: known.as_ref(),
        installed,
        ids: BTreeMap::new(),
        taken: Taken::default(),
        prepare: Vec::new(),
        finish: Vec::new(),
        without_table: None,
        tables: Vec::new(),
        now_ms,
    };
    match build.all(desired, room) {
        Ok(switch) => {
            let Build { prepare, finish, without_table, tables, .. } = build;
            Ok(Made { prepare, switch, finish, without_table, tables })
        }
        Err(full) => {
            let Build { taken, installed, .. } = build;
            taken.put_back(installed);
            Err(full)
        }
    }
}

struct Build<'a> {
    key: &'a PortKey,
    port: &'a Port,
    known: Option<&'a InstalledPort>,
    installed: &'a mut Installed,
    ids: BTreeMap<(Addr, Be16), u32>,
    taken: Taken,
    prepare: Vec<Step>,
    finish: Vec<Step>,
    without_table: Option<Full>,
    /// Measured, and never decided by.
    tables: Vec<Duration>,
    now_ms: u64,
}

impl Build<'_> {
    fn all(&mut self, desired: &Desired, room: &mut Room) -> Result<Vec<(ServiceKey, ServiceValue)>, Full> {
        let port = self.port;
        let service = self.service()?;
        self.backends(service)?;
        let cluster = self.list(&port.cluster)?;
        let local = self.list(&port.local)?;
        let mut table = |local: bool, slice: Slice, targets: &[Target]| {
            if port.uses_table(local) { self.table(slice, targets) } else { Slice::default() }
        };
        let cluster_table = table(false, cluster, &port.cluster);
        // The same list needs no second table.
        let local_table = if local == cluster && port.uses_table(false) {
            if port.uses_table(true) { cluster_table } else { Slice::default() }
        } else {
            table(true, local, &port.local)
        };
        let affinity_s = port.affinity_s;
        let value = ServiceValue {
            service,
            cluster,
            local,
            cluster_table,
            local_table,
            affinity_s,
            ..ServiceValue::default()
        };
        let ranges = self.ranges(service, room.ranges)?;
        let frontends = desired.frontends(self.key, port);
        let wanted = frontends.map(|frontend| (*frontend, port.flags_of(frontend).unwrap_or(0)));
        let wanted = wanted.map(|(frontend, flags)| (frontend, ServiceValue { flags, ..value }));
        let now = self.installed.frontends();
        let stale: Vec<(ServiceKey, ServiceValue)> = wanted
            .filter(|(frontend, value)| {
                now.get(frontend).map(|now| ServiceValue { generation: 0, ..*now }) != Some(*value)
            })
            .collect();
        let new = stale.iter().filter(|(frontend, _)| !now.contains_key(frontend)).count();
        let Some(left) = room.frontends.checked_sub(new) else {
            return Err(self.full("frontends", "frontends-max", new));
        };
        room.frontends = left;
        room.ranges -= ranges;
        let switch = stale.into_iter().map(|(key, value)| {
            (key, ServiceValue { generation: self.installed.next_generation(), ..value })
        });
        Ok(switch.collect())
    }

    fn service(&mut self) -> Result<u32, Full> {
        if let Some(port) = self.known {
            return Ok(port.id);
        }
        let id = self.installed.services.take(self.now_ms);
        let id = id.ok_or_else(|| self.full("service ports", "services-max", 1))?;
        self.taken.services.push(id);
        self.prepare.push(Step::Name { id, key: self.key.clone() });
        Ok(id)
    }

    /// Bits are added before the switch and taken away after it. What drains is kept and not made.
    fn backends(&mut self, service: u32) -> Result<(), Full> {
        for (place, bits) in self.port.backends() {
            let known = self.known.and_then(|port| port.backends.get(&place)).copied();
            let id = match known {
                Some(id) => id,
                None if bits & (BACKEND_IN_CLUSTER | BACKEND_IN_LOCAL) == 0 => continue,
                None => {
                    let id = self.installed.backend_ids.take(self.now_ms);
                    let id = id.ok_or_else(|| self.full("backends", "backends-max", 1))?;
                    self.taken.backends.push(id);
                    id
                }
            };
            self.ids.insert(place, id);
            let value = backend(place, bits, proto_number(self.key.protocol), service);
            let now = self.installed.backends().get(&id).copied();
            let both = BackendValue { flags: bits | now.map_or(0, |now| now.flags), ..value };
            if now != Some(both) {
                self.prepare.push(Step::Backend { id, value: both });
            }
            if both != value {
                self.finish.push(Step::Backend { id, value });
            }
        }
        Ok(())
    }

    fn list(&mut self, targets: &[Target]) -> Result<Slice, Full> {
        let wanted: Vec<u32> =
            targets.iter().filter_map(|target| self.ids.get(&target.place()).copied()).collect();
        if wanted.is_empty() {
            return Ok(Slice::default());
        }
        let own = self.own(|value| [value.cluster, value.local]);
        if let Some(slice) = own.into_iter().find(|slice| self.installed.ids_in(*slice) == wanted) {
            return Ok(slice);
        }
        if let Some(Step::Slots { slice, ids }) = self.prepare.last()
            && *ids == wanted
        {
            return Ok(*slice);
        }
        let slice = self.slots(wanted.len())?;
        self.prepare.push(Step::Slots { slice, ids: wanted });
        Ok(slice)
    }

    /// The table over a list. One endpoint is a table by itself; one without room is none.
    fn table(&mut self, list: Slice, targets: &[Target]) -> Slice {
        if list.len <= 1 {
            return list;
        }
        let entries: Vec<maglev::Entry> = targets.iter().map(Target::entry).collect();
        let size = maglev::size(entries.len());
        let ids: Vec<u32> =
            targets.iter().filter_map(|target| self.ids.get(&target.place()).copied()).collect();
        // Ids are part of it: the same endpoints under other ids are another table.
        let made_from = maglev::fingerprint(&entries) ^ maglev::contents(&ids);
        let own = self.own(|value| [value.cluster_table, value.local_table]);
        let own: Vec<Slice> = own.into_iter().filter(|slice| slice.len == size).collect();
        if let Some(slice) = own.iter().find(|slice| self.installed.is_table(**slice, made_from, None)) {
            return *slice;
        }
        let begun = Instant::now();
        let built = maglev::table(&entries);
        self.tables.push(begun.elapsed());
        let filled: Vec<u32> = built.iter().filter_map(|index| ids.get(*index as usize).copied()).collect();
        let contents = maglev::contents(&filled);
        if let Some(slice) = own.iter().find(|slice| self.installed.is_table(**slice, 0, Some(contents))) {
            self.installed.note_table(*slice, made_from);
            return *slice;
        }
        match self.slots(filled.len()) {
            Ok(slice) => {
                self.prepare.push(Step::Table { slice, ids: filled, made_from });
                slice
            }
            Err(full) => {
                self.without_table = Some(full);
                Slice::default()
            }
        }
    }

    /// How many ranges are new.
    fn ranges(&mut self, service: u32, left: usize) -> Result<usize, Full> {
        let wanted = self.port.ranges.iter().map(|range| range.key(service));
        let there: Vec<_> = self.installed.ranges_of(service).copied().collect();
        let new: Vec<_> = wanted.filter(|key| !there.contains(key)).collect();
        if new.len() > left {
            return Err(self.full("source ranges", "source-ranges-max", new.len()));
        }
        self.prepare.extend(new.iter().map(|key| Step::Range { key: *key }));
        Ok(new.len())
    }

    fn slots(&mut self, len: usize) -> Result<Slice, Full> {
        let count = u32::try_from(len).unwrap_or(u32::MAX);
        let offset = self.installed.slots.take(count, self.now_ms);
        let offset = offset.ok_or_else(|| self.full("slots", "slots-max", len))?;
        let slice = Slice { offset, len: count };
        self.taken.slots.push(slice);
        Ok(slice)
    }

    /// Slices of the port's frontends as they are.
    fn own(&self, pick: impl Fn(&ServiceValue) -> [Slice; 2]) -> Vec<Slice> {
        let frontends = self.known.into_iter().flat_map(|known| self.installed.frontends_by(known.id));
        let values = frontends.filter_map(|key| self.installed.frontends().get(key));
        let mut slices: Vec<Slice> = values.flat_map(pick).filter(|slice| slice.len != 0).collect();
        slices.sort_unstable();
        slices.dedup();
        slices
    }

    fn full(&self, what: &'static str, flag: &'static str, wanted: usize) -> Full {
        Full { port: self.key.clone(), what, flag, wanted }
    }
}

/// What a port took before it turned out not to fit. Nothing of it was written.
#[derive(Default)]
struct Taken {
    services: Vec<u32>,
    backends: Vec<u32>,
    slots: Vec<Slice>,
}

impl Taken {
    fn put_back(self, installed: &mut Installed) {
        for id in self.services {
            installed.services.put_back(id);
        }
        for id in self.backends {
            installed.backend_ids.put_back(id);
        }
        for slice in self.slots {
            installed.slots.put_back(slice.offset, slice.len);
        }
    }
}
