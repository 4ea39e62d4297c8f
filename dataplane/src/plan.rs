//! From what is installed to what is desired, in an order that keeps traffic whole.
//!
//! Make before break, over all ports of a plan: names, backends and slots first, which nothing
//! points to yet; then frontends, each switched by one map update; then what is no longer pointed
//! to goes. A plan that fails half way leaves every frontend either as it was or as it should be.
//!
//! What still carries traffic stays: a port whose frontend is to be another's keeps everything until
//! that other port fits into the maps.

mod build;
mod gone;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seaway_common::{
    ADDRESS_OWN, Addr, BackendValue, NameValue, ServiceKey, ServiceValue, Slice, SourceRangeKey,
};

use crate::desired::{Desired, PortKey};
use crate::installed::{Installed, name_of};
use crate::maps::{Error, Maps};
use build::{Room, make};
use gone::Gone;

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
    /// Fill free slots with a consistent table.
    Table {
        /// Where.
        slice: Slice,
        /// Backend ids, as many as the slice has slots.
        ids: Vec<u32>,
        /// Fingerprint of what it was made from.
        made_from: u64,
    },
    /// Let a range of clients in.
    Range {
        /// Service id and range.
        key: SourceRangeKey,
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
    /// Free the clients that are bound to backends which left their lists.
    ForgetAffinity {
        /// Their ids.
        backends: BTreeSet<u32>,
    },
    /// Remove a range of clients.
    RemoveRange {
        /// Service id and range.
        key: SourceRangeKey,
    },
    /// Write a virtual address.
    Address {
        /// The address.
        address: Addr,
        /// `ADDRESS_*` bits.
        bits: u32,
    },
    /// Remove a virtual address.
    RemoveAddress {
        /// The address.
        address: Addr,
    },
    /// Free a service id.
    RemoveName {
        /// The id.
        id: u32,
    },
}

/// What was applied, also of a plan that was cut off by a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Steps that are in force.
    pub steps: usize,
    /// Flow entries that were removed.
    pub purged: usize,
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
    /// Without their consistent table, for want of slots; their endpoints are chosen at random.
    pub without_table: Vec<Full>,
    /// How long each consistent table took that was built.
    pub tables: Vec<Duration>,
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
    let mut gone = Gone::default();
    let mut room = Room { frontends: installed.frontends_left(), ranges: installed.ranges_left() };
    for key in ports {
        // A port whose frontends are all another's is not installed either.
        let port = desired.port(key).filter(|port| desired.frontends(key, port).next().is_some());
        match port.map(|port| make(desired, installed, key, port, &mut room, now_ms)) {
            Some(Ok(made)) => {
                plan.steps.extend(made.prepare);
                plan.without_table.extend(made.without_table);
                plan.tables.extend(made.tables);
                switch.extend(made.switch);
                gone.finish.extend(made.finish);
            }
            Some(Err(full)) => {
                plan.full.push(full);
                continue;
            }
            None => {}
        }
        settled.push((key, port));
    }
    let mut addresses: BTreeSet<&Addr> = BTreeSet::new();
    for (key, port) in settled {
        let lent = |frontend: &&ServiceKey| {
            desired.owner(frontend).is_some_and(|owner| owner != key) && !switch.contains_key(*frontend)
        };
        // Of one without frontends too: its address may be left to the node.
        let asked = desired.port(key).into_iter().flat_map(|port| port.addresses.iter());
        addresses.extend(asked.map(|(address, _)| address));
        let known = installed.port(key).into_iter().flat_map(|known| installed.frontends_by(known.id));
        addresses.extend(known.map(|frontend| &frontend.addr));
        match (installed.port(key), port) {
            (Some(known), _) if installed.frontends_by(known.id).any(|frontend| lent(&frontend)) => {}
            (_, Some(port)) => gone.leftovers(desired, installed, key, port),
            (_, None) => gone.port(desired, installed, key),
        }
    }
    // Names are in no order with what else is made first: side by side they are written at once.
    plan.steps.sort_by_key(|step| !matches!(step, Step::Name { .. }));
    let switched: BTreeSet<Addr> = switch.keys().map(|key| key.addr).collect();
    plan.steps.extend(switch.into_iter().map(|(key, value)| Step::Frontend { key, value }));
    for address in addresses {
        // An address is there as long as some frontend has it: not for a port that does not fit.
        let served = switched.contains(address) || gone.leaves_some(installed, address);
        // One that is left to the node has none, and is there all the same.
        let wanted = desired.address(address).filter(|bits| served || *bits == ADDRESS_OWN);
        match (wanted, installed.addresses().get(address)) {
            (Some(bits), now) if now != Some(&bits) => {
                plan.steps.push(Step::Address { address: *address, bits });
            }
            (None, Some(_)) => gone.addresses.push(*address),
            _ => {}
        }
    }
    plan.steps.extend(gone.steps());
    plan
}

/// Steps that remove virtual addresses which nobody has any more.
pub fn stray_addresses(desired: &Desired, installed: &Installed) -> Vec<Step> {
    let stray = |address: &&Addr| {
        let bits = desired.address(address);
        bits.is_none() || (bits != Some(ADDRESS_OWN) && installed.frontends_of(address).next().is_none())
    };
    let strays = installed.addresses().keys().filter(stray);
    strays.map(|address| Step::RemoveAddress { address: *address }).collect()
}

/// Applies steps in order and keeps `installed` equal to the maps. Adds what came of it to `done`.
///
/// # Errors
/// The first map operation that fails; the steps before it are in force.
pub fn apply(
    steps: &[Step],
    maps: &mut impl Maps,
    installed: &mut Installed,
    now_ms: u64,
    done: &mut Applied,
) -> Result<(), Error> {
    let mut later = steps;
    while let [step, ..] = later {
        let (now, rest) = later.split_at(many(later));
        later = rest;
        match step {
            Step::Name { .. } => maps.put_names(&names(now))?,
            Step::Backend { id, value } => maps.put_backend(*id, value)?,
            Step::Slots { slice, ids } => maps.put_slots(slice.offset, ids)?,
            Step::Table { slice, ids, .. } => maps.put_slots(slice.offset, ids)?,
            Step::Range { key } => maps.put_source_range(key)?,
            Step::RemoveRange { key } => maps.remove_source_range(key)?,
            Step::Address { .. } => maps.put_addresses(&addresses(now))?,
            Step::RemoveAddress { address } => maps.remove_address(address)?,
            Step::ForgetAffinity { backends } => _ = maps.forget_affinity(backends)?,
            Step::Frontend { .. } => maps.put_frontends(&frontends(now))?,
            Step::RemoveFrontend { key } => maps.remove_frontend(key)?,
            Step::RetireBackend { id } => {
                let value = installed.backends().get(id).copied().unwrap_or_default();
                maps.put_backend(*id, &BackendValue { flags: 0, ..value })?;
            }
            Step::PurgeFlows { backends } => {
                let flows = maps.purge_flows(backends)?;
                done.purged += flows;
                tracing::debug!(
                    flows,
                    backends = backends.len(),
                    "removed UDP flows of endpoints that are gone"
                );
            }
            Step::RemoveName { id } => maps.remove_name(*id)?,
        }
        now.iter().for_each(|step| installed.record(step, now_ms));
        done.steps += now.len();
    }
    Ok(())
}

/// How many of the next steps are written together: those of one kind, where a map takes many at once.
fn many(steps: &[Step]) -> usize {
    let same: fn(&&Step) -> bool = match steps.first() {
        Some(Step::Name { .. }) => |step| matches!(step, Step::Name { .. }),
        Some(Step::Address { .. }) => |step| matches!(step, Step::Address { .. }),
        Some(Step::Frontend { .. }) => |step| matches!(step, Step::Frontend { .. }),
        _ => return 1.min(steps.len()),
    };
    steps.iter().take_while(same).count()
}

fn names(steps: &[Step]) -> Vec<(u32, NameValue)> {
    let name = |step: &Step| match step {
        Step::Name { id, key } => Some((*id, name_of(key))),
        _ => None,
    };
    steps.iter().filter_map(name).collect()
}

fn addresses(steps: &[Step]) -> Vec<(Addr, u32)> {
    let address = |step: &Step| match step {
        Step::Address { address, bits } => Some((*address, *bits)),
        _ => None,
    };
    steps.iter().filter_map(address).collect()
}

fn frontends(steps: &[Step]) -> Vec<(ServiceKey, ServiceValue)> {
    let frontend = |step: &Step| match step {
        Step::Frontend { key, value } => Some((*key, *value)),
        _ => None,
    };
    steps.iter().filter_map(frontend).collect()
}
