//! From what is installed to what is desired, in an order that keeps traffic whole.
//!
//! Make before break, over all ports of a plan: names, backends and slots first, which nothing
//! points to yet; then frontends, each switched by one map update; then what is no longer pointed
//! to goes. A plan that fails half way leaves every frontend either as it was or as it should be.
//!
//! What still carries traffic stays: a port whose frontend is to be another's keeps everything until
//! that other port fits into the maps.

use std::collections::{BTreeMap, BTreeSet};

use seaway_cluster::Protocol;
use seaway_common::{BackendValue, ServiceKey, ServiceValue, Slice};

use crate::desired::{Desired, Port, PortKey, Target, proto_number};
use crate::installed::{Installed, InstalledPort, name_of};
use crate::maps::{Error, Maps};

/// One change of the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Name a service id.
    Name {
        /// The id.
        id: u32,
        /// The port it stands for.
        key: PortKey,
    },
    /// Write a backend.
    Backend {
        /// Its id.
        id: u32,
        /// Its new value.
        value: BackendValue,
    },
    /// Fill free slots.
    Slots {
        /// Where.
        slice: Slice,
        /// Backend ids, as many as the slice has slots.
        ids: Vec<u32>,
    },
    /// Write a frontend.
    Frontend {
        /// The frontend.
        key: ServiceKey,
        /// Its new value.
        value: ServiceValue,
    },
    /// Remove a frontend.
    RemoveFrontend {
        /// The frontend.
        key: ServiceKey,
    },
    /// Take the serving mark from a backend.
    RetireBackend {
        /// Its id.
        id: u32,
    },
    /// Remove the UDP flows of backends that are gone.
    PurgeFlows {
        /// Their ids.
        backends: BTreeSet<u32>,
    },
    /// Free a service id.
    RemoveName {
        /// The id.
        id: u32,
    },
}

/// A service port that does not fit: it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("service {port}: no room for {wanted} more {what}; raise --{flag} (the maps are made anew then)")]
pub struct Full {
    /// The port.
    pub port: PortKey,
    /// What ran out.
    pub what: &'static str,
    /// The agent's flag that sets the limit.
    pub flag: &'static str,
    /// How many were asked for.
    pub wanted: usize,
}

/// Steps in order, and the ports that did not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be applied in order.
    pub steps: Vec<Step>,
    /// Left as they are.
    pub full: Vec<Full>,
}

/// Plans the change of some ports. Ids and slots that the plan uses are taken from `installed`;
/// if the plan is not applied to its end, read [`Installed`] anew.
pub fn plan<'a>(
    desired: &Desired,
    installed: &mut Installed,
    ports: impl IntoIterator<Item = &'a PortKey>,
    now_ms: u64,
) -> Plan {
    let mut plan = Plan::default();
    let mut switch = BTreeMap::new();
    let mut settled = Vec::new();
    let mut room = installed.frontends_left();
    for key in ports {
        // A port whose frontends are all another's is not installed either.
        let port = desired.port(key).filter(|port| desired.frontends(key, port).next().is_some());
        match port.map(|port| make(desired, installed, key, port, &mut room, now_ms)) {
            Some(Ok(made)) => {
                plan.steps.extend(made.prepare);
                switch.extend(made.switch);
            }
            Some(Err(full)) => {
                plan.full.push(full);
                continue;
            }
            None => {}
        }
        settled.push((key, port));
    }
    let mut gone = Gone::default();
    for (key, port) in settled {
        let lent = |frontend: &&ServiceKey| {
            desired.owner(frontend).is_some_and(|owner| owner != key) && !switch.contains_key(*frontend)
        };
        match (installed.port(key), port) {
            (Some(known), _) if known.frontends.iter().any(|frontend| lent(&frontend)) => {}
            (_, Some(port)) => gone.leftovers(desired, installed, key, port),
            (_, None) => gone.port(desired, installed, key),
        }
    }
    plan.steps.extend(switch.into_iter().map(|(key, value)| Step::Frontend { key, value }));
    plan.steps.extend(gone.steps());
    plan
}

/// Applies steps in order and keeps `installed` equal to the maps. Returns how many were applied.
///
/// # Errors
/// The first map operation that fails; the steps before it are in force.
pub fn apply(
    steps: &[Step],
    maps: &mut impl Maps,
    installed: &mut Installed,
    now_ms: u64,
) -> Result<usize, Error> {
    for step in steps {
        match step {
            Step::Name { id, key } => maps.put_name(*id, &name_of(key))?,
            Step::Backend { id, value } => maps.put_backend(*id, value)?,
            Step::Slots { slice, ids } => maps.put_slots(slice.offset, ids)?,
            Step::Frontend { key, value } => maps.put_frontend(key, value)?,
            Step::RemoveFrontend { key } => maps.remove_frontend(key)?,
            Step::RetireBackend { id } => {
                let value = installed.backends().get(id).copied().unwrap_or_default();
                maps.put_backend(*id, &BackendValue { flags: 0, ..value })?;
            }
            Step::PurgeFlows { backends } => {
                let flows = maps.purge_flows(backends)?;
                tracing::debug!(
                    flows,
                    backends = backends.len(),
                    "removed UDP flows of endpoints that are gone"
                );
            }
            Step::RemoveName { id } => maps.remove_name(*id)?,
        }
        installed.record(step, now_ms);
    }
    Ok(steps.len())
}

struct Made {
    prepare: Vec<Step>,
    switch: Vec<(ServiceKey, ServiceValue)>,
}

/// The steps that bring a port's frontends to what they should be.
fn make(
    desired: &Desired,
    installed: &mut Installed,
    key: &PortKey,
    port: &Port,
    room: &mut usize,
    now_ms: u64,
) -> Result<Made, Full> {
    let mut prepare = Vec::new();
    let known = installed.port(key).cloned();
    let mut taken = Taken::default();
    let built = build(installed, key, port, known.as_ref(), &mut taken, &mut prepare, now_ms);
    let value = match built {
        Ok(value) => value,
        Err(full) => {
            taken.put_back(installed);
            return Err(full);
        }
    };
    let stale: Vec<ServiceKey> = desired
        .frontends(key, port)
        .filter(|frontend| {
            let now = installed.frontends().get(frontend);
            now.map(|now| ServiceValue { generation: 0, ..*now }) != Some(value)
        })
        .copied()
        .collect();
    let new = stale.iter().filter(|frontend| !installed.frontends().contains_key(frontend)).count();
    let Some(left) = room.checked_sub(new) else {
        taken.put_back(installed);
        return Err(Full { port: key.clone(), what: "frontends", flag: "frontends-max", wanted: new });
    };
    *room = left;
    let switch = stale
        .into_iter()
        .map(|key| (key, ServiceValue { generation: installed.next_generation(), ..value }))
        .collect();
    Ok(Made { prepare, switch })
}

/// Everything behind a port's frontends, and the value that they get (of generation 0).
fn build(
    installed: &mut Installed,
    key: &PortKey,
    port: &Port,
    known: Option<&InstalledPort>,
    taken: &mut Taken,
    prepare: &mut Vec<Step>,
    now_ms: u64,
) -> Result<ServiceValue, Full> {
    let full = |what, flag, wanted| Full { port: key.clone(), what, flag, wanted };
    let service = match known {
        Some(port) => port.id,
        None => {
            let id =
                installed.services.take(now_ms).ok_or_else(|| full("service ports", "services-max", 1))?;
            taken.services.push(id);
            prepare.push(Step::Name { id, key: key.clone() });
            id
        }
    };
    let mut ids = BTreeMap::new();
    for target in port.cluster.iter().chain(&port.local) {
        let value = target.backend(proto_number(key.protocol), service);
        let place = (target.addr, target.port);
        if ids.contains_key(&place) {
            continue;
        }
        let id = match known.and_then(|port| port.backends.get(&place)) {
            Some(id) => *id,
            None => {
                let id =
                    installed.backend_ids.take(now_ms).ok_or_else(|| full("backends", "backends-max", 1))?;
                taken.backends.push(id);
                id
            }
        };
        if installed.backends().get(&id) != Some(&value) {
            prepare.push(Step::Backend { id, value });
        }
        ids.insert(place, id);
    }
    let mut slice = |targets: &[Target]| -> Result<Slice, Full> {
        let wanted: Vec<u32> = targets.iter().filter_map(|t| ids.get(&(t.addr, t.port)).copied()).collect();
        if wanted.is_empty() {
            return Ok(Slice::default());
        }
        if let Some(slice) = existing_slice(installed, known, &wanted) {
            return Ok(slice);
        }
        if let Some(Step::Slots { slice, ids }) = prepare.last()
            && *ids == wanted
        {
            return Ok(*slice);
        }
        let len = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let offset =
            installed.slots.take(len, now_ms).ok_or_else(|| full("slots", "slots-max", wanted.len()))?;
        let slice = Slice { offset, len };
        taken.slots.push(slice);
        prepare.push(Step::Slots { slice, ids: wanted });
        Ok(slice)
    };
    Ok(ServiceValue {
        service,
        flags: port.flags,
        cluster: slice(&port.cluster)?,
        local: slice(&port.local)?,
        cluster_table: Slice::default(),
        local_table: Slice::default(),
        affinity_s: port.affinity_s,
        generation: 0,
    })
}

/// A slice of one of the port's frontends that already has these ids.
fn existing_slice(installed: &Installed, known: Option<&InstalledPort>, ids: &[u32]) -> Option<Slice> {
    let frontends = known?.frontends.iter().filter_map(|key| installed.frontends().get(key));
    frontends.flat_map(|value| [value.cluster, value.local]).find(|slice| installed.ids_in(*slice) == ids)
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

/// What is to go once every frontend is switched.
#[derive(Default)]
struct Gone {
    frontends: Vec<ServiceKey>,
    backends: BTreeSet<u32>,
    /// Those of `backends` whose flows would never end by themselves.
    datagrams: BTreeSet<u32>,
    names: Vec<u32>,
}

impl Gone {
    /// A port as a whole.
    fn port(&mut self, desired: &Desired, installed: &Installed, key: &PortKey) {
        let Some(port) = installed.port(key) else { return };
        self.frontends.extend(port.frontends.iter().filter(|frontend| desired.owner(frontend).is_none()));
        self.backends(key, port.backends.values());
        self.names.push(port.id);
    }

    /// What a port no longer needs.
    fn leftovers(&mut self, desired: &Desired, installed: &Installed, key: &PortKey, port: &Port) {
        let Some(known) = installed.port(key) else { return };
        self.frontends.extend(known.frontends.iter().filter(|frontend| desired.owner(frontend).is_none()));
        let wanted: BTreeSet<_> = port.cluster.iter().chain(&port.local).map(|t| (t.addr, t.port)).collect();
        let unwanted = known.backends.iter().filter(|(place, _)| !wanted.contains(place));
        self.backends(key, unwanted.map(|(_, id)| id));
    }

    fn backends<'a>(&mut self, key: &PortKey, ids: impl Iterator<Item = &'a u32>) {
        let ids: Vec<u32> = ids.copied().collect();
        if key.protocol == Protocol::Udp {
            self.datagrams.extend(&ids);
        }
        self.backends.extend(ids);
    }

    fn steps(self) -> impl Iterator<Item = Step> {
        let Self { frontends, backends, datagrams, names } = self;
        let purge = Some(datagrams).filter(|backends| !backends.is_empty());
        let frontends = frontends.into_iter().map(|key| Step::RemoveFrontend { key });
        let backends = backends.into_iter().map(|id| Step::RetireBackend { id });
        let purge = purge.into_iter().map(|backends| Step::PurgeFlows { backends });
        let names = names.into_iter().map(|id| Step::RemoveName { id });
        frontends.chain(backends).chain(purge).chain(names)
    }
}
