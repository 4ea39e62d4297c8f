//! What the maps hold: read from them once, then kept step by step. Long, because every map has its part
//! in both, and they have to agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use itertools::Itertools;
use seaway_cluster::{AddressFamily, ObjectName};
use seaway_common::{Addr, BackendValue, Be16, NameValue, ServiceKey, ServiceValue, Slice, SourceRangeKey};

use crate::desired::{PortKey, proto_number, protocol_of};
use crate::maglev;
use crate::maps::{Error, Maps};
use crate::plan::Step;
use crate::space::{Ids, Ranges};

/// The service id of an entry that has to be written anew whatever it seems to say.
const UNKNOWN: u32 = u32::MAX;

/// A model of the maps' contents, and what is free in them.
#[derive(Clone, Debug)]
pub struct Installed {
    frontends: BTreeMap<ServiceKey, ServiceValue>,
    /// The frontends of each service id that has a name: most have one, which is no tree of its own.
    by_service: BTreeSet<(u32, ServiceKey)>,
    ports: BTreeMap<PortKey, InstalledPort>,
    keys: BTreeMap<u32, PortKey>,
    slices: BTreeMap<Slice, Slots>,
    backends: BTreeMap<u32, BackendValue>,
    addresses: BTreeMap<Addr, u32>,
    ranges: BTreeMap<u32, BTreeSet<SourceRangeKey>>,
    ranges_max: usize,
    /// Names that stand for no port, from another build or a torn write.
    stray_names: BTreeSet<u32>,
    pub(crate) services: Ids,
    pub(crate) backend_ids: Ids,
    pub(crate) slots: Ranges,
    frontends_max: usize,
    generation: u32,
}

/// One service port as the maps hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledPort {
    /// Its id.
    pub id: u32,
    /// Its backends' ids by address and port.
    pub backends: BTreeMap<(Addr, Be16), u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slots {
    /// Empty for a consistent table, which would be a copy of the map.
    ids: Vec<u32>,
    /// [`maglev::contents`] of the ids.
    contents: u64,
    /// [`maglev::fingerprint`] of what a table was made from; 0 while that is not known.
    made_from: u64,
    users: usize,
}

impl Installed {
    /// Reads the maps.
    ///
    /// # Errors
    /// The first map operation that fails.
    pub fn read(maps: &impl Maps) -> Result<Self, Error> {
        let capacities = maps.capacities();
        let nothing = BTreeSet::new();
        let mut installed = Self {
            frontends: BTreeMap::new(),
            by_service: BTreeSet::new(),
            ports: BTreeMap::new(),
            keys: BTreeMap::new(),
            slices: BTreeMap::new(),
            backends: BTreeMap::new(),
            addresses: maps.addresses()?.into_iter().collect(),
            ranges: by_service(maps.source_ranges()?),
            ranges_max: capacities.source_ranges as usize,
            stray_names: BTreeSet::new(),
            services: Ids::new(capacities.services, &nothing),
            backend_ids: Ids::new(capacities.backends, &nothing),
            slots: Ranges::new(capacities.slots, []),
            frontends_max: capacities.frontends as usize,
            generation: 0,
        };
        installed.read_names(maps.names()?, capacities.services);
        let backends = maps.backends()?;
        let mut used_services: BTreeSet<u32> = installed.keys.keys().copied().collect();
        used_services.extend(&installed.stray_names);
        used_services.extend(backends.iter().map(|(_, value)| value.service));
        used_services.extend(installed.ranges.keys());
        installed.read_backends(backends);
        for (key, value) in maps.frontends()? {
            installed.generation = installed.generation.max(value.generation);
            used_services.insert(value.service);
            let value = installed.adopt_slices(maps, value)?;
            installed.put_frontend(key, value);
        }
        let used_slots = installed.slices.keys().map(|slice| (slice.offset, slice.len));
        installed.slots = Ranges::new(capacities.slots, used_slots);
        installed.services = Ids::new(capacities.services, &used_services);
        installed.backend_ids = Ids::new(capacities.backends, &installed.backends.keys().copied().collect());
        Ok(installed)
    }

    /// Takes over what an earlier model still holds back, after the maps were read anew.
    pub fn hold_as(&mut self, before: &Self) {
        for (slice, slots) in &mut self.slices {
            let same = before.slices.get(slice).filter(|before| before.contents == slots.contents);
            slots.made_from = same.map_or(0, |before| before.made_from);
        }
        self.services.hold_as(&before.services);
        self.backend_ids.hold_as(&before.backend_ids);
        self.slots.hold_as(&before.slots);
    }

    /// Every frontend.
    pub fn frontends(&self) -> &BTreeMap<ServiceKey, ServiceValue> {
        &self.frontends
    }

    /// Every backend by id.
    pub fn backends(&self) -> &BTreeMap<u32, BackendValue> {
        &self.backends
    }

    /// How many ports there are.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether there is no port.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Every port's key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &PortKey> {
        self.ports.keys()
    }

    /// One port.
    pub fn port(&self, key: &PortKey) -> Option<&InstalledPort> {
        self.ports.get(key)
    }

    /// The key of a service id.
    pub fn key_of(&self, service: u32) -> Option<&PortKey> {
        self.keys.get(&service)
    }

    /// The backend ids in a slice that some frontend uses.
    pub fn ids_in(&self, slice: Slice) -> &[u32] {
        self.slices.get(&slice).map(|slots| slots.ids.as_slice()).unwrap_or_default()
    }

    /// The frontends of a service id that has a name.
    pub fn frontends_by(&self, service: u32) -> impl Iterator<Item = &ServiceKey> {
        let from = self.by_service.range((service, ServiceKey::default())..);
        from.take_while(move |(of, _)| *of == service).map(|(_, key)| key)
    }

    /// The frontends of an address.
    pub fn frontends_of(&self, address: &Addr) -> impl Iterator<Item = &ServiceKey> {
        let first = ServiceKey { addr: *address, ..ServiceKey::default() };
        let from = self.frontends.range(first..).map(|(key, _)| key);
        from.take_while(move |key| key.addr == first.addr)
    }

    /// Every virtual address with its `ADDRESS_*` bits.
    pub fn addresses(&self) -> &BTreeMap<Addr, u32> {
        &self.addresses
    }

    /// The source ranges of a service id.
    pub fn ranges_of(&self, service: u32) -> impl Iterator<Item = &SourceRangeKey> {
        self.ranges.get(&service).into_iter().flatten()
    }

    /// How many source ranges there are.
    pub fn ranges_len(&self) -> usize {
        self.ranges.values().map(BTreeSet::len).sum()
    }

    /// Whether a slice is a table made from what this fingerprint stands for, or has these contents.
    pub(crate) fn is_table(&self, slice: Slice, made_from: u64, contents: Option<u64>) -> bool {
        let known = self.slices.get(&slice);
        known.is_some_and(|slots| match contents {
            None => slots.made_from == made_from,
            Some(contents) => slots.contents == contents,
        })
    }

    /// Notes what a table was made from, which the maps do not say.
    pub(crate) fn note_table(&mut self, slice: Slice, made_from: u64) {
        if let Some(slots) = self.slices.get_mut(&slice) {
            slots.made_from = made_from;
        }
    }

    /// How many more source ranges the map holds.
    pub(crate) fn ranges_left(&self) -> usize {
        self.ranges_max.saturating_sub(self.ranges_len())
    }

    /// How many more frontends the map holds.
    pub(crate) fn frontends_left(&self) -> usize {
        self.frontends_max.saturating_sub(self.frontends.len())
    }

    /// The generation of the next frontend that is written.
    pub(crate) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Steps that remove what belongs to no port: frontends and backends of unknown services, and
    /// unreadable names. A plan that writes the same frontends comes first.
    pub fn repairs(&self) -> Vec<Step> {
        let known = |service: u32| self.keys.contains_key(&service);
        let frontends = self.frontends.iter().filter(|(_, value)| !known(value.service));
        let backends = self.backends.iter().filter(|(_, value)| !known(value.service));
        let frontends = frontends.map(|(key, _)| Step::RemoveFrontend { key: *key });
        let backends = backends.map(|(id, _)| Step::RetireBackend { id: *id });
        let names = self.stray_names.iter().map(|id| Step::RemoveName { id: *id });
        let ranges =
            self.ranges.iter().filter(|(service, _)| !known(**service)).flat_map(|(_, ranges)| ranges);
        let ranges = ranges.map(|range| Step::RemoveRange { key: *range });
        frontends.chain(backends).chain(ranges).chain(names).collect()
    }

    /// Keeps the model equal to the maps after a step was applied.
    pub fn record(&mut self, step: &Step, now_ms: u64) {
        match step {
            Step::Name { id, key } => self.put_name(*id, key.clone()),
            Step::Backend { id, value } => self.put_backend(*id, *value),
            Step::Slots { slice, ids } => {
                let contents = maglev::contents(ids);
                self.slices.insert(*slice, Slots { ids: ids.clone(), contents, made_from: 0, users: 0 });
            }
            Step::Table { slice, ids, made_from } => {
                let (contents, made_from) = (maglev::contents(ids), *made_from);
                self.slices.insert(*slice, Slots { ids: Vec::new(), contents, made_from, users: 0 });
            }
            Step::Range { key } => _ = self.ranges.entry(key.service).or_default().insert(*key),
            Step::RemoveRange { key } => self.remove_range(key),
            Step::Address { address, bits } => _ = self.addresses.insert(*address, *bits),
            Step::RemoveAddress { address } => _ = self.addresses.remove(address),
            Step::Frontend { key, value } => {
                let before = self.put_frontend(*key, *value);
                self.leave_slices(before, now_ms);
            }
            Step::RemoveFrontend { key } => {
                let before = self.frontends.remove(key);
                if let Some(value) = before {
                    self.by_service.remove(&(value.service, *key));
                }
                self.leave_slices(before, now_ms);
            }
            Step::RetireBackend { id } => {
                if let Some(value) = self.backends.remove(id)
                    && let Some(port) = self.port_mut(value.service)
                {
                    port.backends.remove(&(value.addr, value.port));
                }
                self.backend_ids.give_back(*id, now_ms);
            }
            Step::PurgeFlows { .. } | Step::ForgetAffinity { .. } => {}
            Step::RemoveName { id } => {
                self.stray_names.remove(id);
                if let Some(key) = self.keys.remove(id) {
                    self.ports.remove(&key);
                }
                self.services.give_back(*id, now_ms);
            }
        }
    }

    fn remove_range(&mut self, key: &SourceRangeKey) {
        let Some(ranges) = self.ranges.get_mut(&key.service) else { return };
        ranges.remove(key);
        if ranges.is_empty() {
            self.ranges.remove(&key.service);
        }
    }

    fn port_mut(&mut self, service: u32) -> Option<&mut InstalledPort> {
        self.ports.get_mut(self.keys.get(&service)?)
    }

    fn put_name(&mut self, id: u32, key: PortKey) {
        self.keys.insert(id, key.clone());
        self.ports.insert(key, InstalledPort { id, ..InstalledPort::default() });
    }

    fn put_backend(&mut self, id: u32, value: BackendValue) {
        if let Some(port) = self.port_mut(value.service) {
            port.backends.insert((value.addr, value.port), id);
        }
        self.backends.insert(id, value);
    }

    /// Returns the value that was replaced, whose slices lose a user.
    fn put_frontend(&mut self, key: ServiceKey, value: ServiceValue) -> Option<ServiceValue> {
        for slice in slices_of(&value) {
            if let Some(slots) = self.slices.get_mut(&slice) {
                slots.users += 1;
            }
        }
        let before = self.frontends.insert(key, value);
        if let Some(before) = before {
            self.by_service.remove(&(before.service, key));
        }
        if self.keys.contains_key(&value.service) {
            self.by_service.insert((value.service, key));
        }
        before
    }

    /// Slices that no frontend uses any more are free, after a while.
    fn leave_slices(&mut self, before: Option<ServiceValue>, now_ms: u64) {
        for slice in before.iter().flat_map(slices_of) {
            let Some(slots) = self.slices.get_mut(&slice) else { continue };
            slots.users -= 1;
            if slots.users == 0 {
                self.slices.remove(&slice);
                self.slots.give_back(slice.offset, slice.len, now_ms);
            }
        }
    }

    fn read_names(&mut self, names: Vec<(u32, NameValue)>, limit: u32) {
        for (id, name) in names {
            match parse_name(&name) {
                Some(key) if id < limit && !self.ports.contains_key(&key) => self.put_name(id, key),
                _ => {
                    self.stray_names.insert(id);
                }
            }
        }
    }

    /// An address that stands twice for one port, after a torn write, keeps its first id; the
    /// other entry is as good as that of an unknown service.
    fn read_backends(&mut self, backends: Vec<(u32, BackendValue)>) {
        for (id, mut value) in backends {
            let taken =
                self.port_mut(value.service).and_then(|port| port.backends.get(&(value.addr, value.port)));
            if taken.is_some() {
                value.service = UNKNOWN;
            }
            self.put_backend(id, value);
        }
    }

    /// Notes the slices of an entry. One that does not make sense gets an entry that is rewritten.
    fn adopt_slices(&mut self, maps: &impl Maps, value: ServiceValue) -> Result<ServiceValue, Error> {
        let broken = ServiceValue { service: UNKNOWN, ..ServiceValue::default() };
        let mut adopted = Vec::new();
        for slice in slices_of(&value) {
            if self.slices.contains_key(&slice) {
                continue;
            }
            let before = self.slices.range(..=Slice { offset: slice.offset, len: u32::MAX }).next_back();
            let overlaps = before
                .is_some_and(|(other, _)| other.offset.saturating_add(other.len) > slice.offset)
                || self
                    .slices
                    .range(slice..)
                    .next()
                    .is_some_and(|(other, _)| slice.offset.saturating_add(slice.len) > other.offset);
            let ids = maps.slots(slice)?;
            if overlaps || ids.len() != slice.len as usize || !slice.offset.is_multiple_of(2) {
                adopted.iter().for_each(|slice| _ = self.slices.remove(slice));
                return Ok(broken);
            }
            let contents = maglev::contents(&ids);
            let is_list = slice == value.cluster || slice == value.local;
            let ids = if is_list { ids } else { Vec::new() };
            self.slices.insert(slice, Slots { ids, contents, made_from: 0, users: 0 });
            adopted.push(slice);
        }
        Ok(value)
    }
}

fn by_service(ranges: Vec<SourceRangeKey>) -> BTreeMap<u32, BTreeSet<SourceRangeKey>> {
    let mut all: BTreeMap<u32, BTreeSet<SourceRangeKey>> = BTreeMap::new();
    for range in ranges {
        all.entry(range.service).or_default().insert(range);
    }
    all
}

/// The slices that an entry points to, each once.
fn slices_of(value: &ServiceValue) -> impl Iterator<Item = Slice> + use<> {
    let ServiceValue { cluster, local, cluster_table, local_table, .. } = *value;
    [cluster, local, cluster_table, local_table].into_iter().filter(|slice| slice.len != 0).unique()
}

/// The name under which a port's id is kept beside the maps.
pub(crate) fn name_of(key: &PortKey) -> NameValue {
    let family = match key.family {
        AddressFamily::Ipv4 => 4,
        AddressFamily::Ipv6 => 6,
    };
    NameValue::new(&key.to_string(), proto_number(key.protocol), family)
}

fn parse_name(name: &NameValue) -> Option<PortKey> {
    let (namespace, rest) = name.as_str().split_once('/')?;
    let (service, port) = rest.split_once(':').unwrap_or((rest, ""));
    let family = match name.family {
        4 => AddressFamily::Ipv4,
        6 => AddressFamily::Ipv6,
        _ => return None,
    };
    Some(PortKey {
        service: ObjectName::new(namespace, service),
        port: Arc::from(port),
        protocol: protocol_of(name.proto)?,
        family,
    })
}
