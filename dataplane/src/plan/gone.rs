//! What goes once every frontend is switched.

use std::collections::BTreeSet;

use seaway_cluster::Protocol;
use seaway_common::{Addr, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, ServiceKey, SourceRangeKey};

use super::Step;
use crate::desired::{Desired, Port, PortKey};
use crate::installed::{Installed, InstalledPort};

/// What is to go, and what is to be finished.
#[derive(Default)]
pub(super) struct Gone {
    /// Backends that lose bits.
    pub(super) finish: Vec<Step>,
    /// Virtual addresses.
    pub(super) addresses: Vec<Addr>,
    frontends: BTreeSet<ServiceKey>,
    backends: BTreeSet<u32>,
    /// Those of `backends` whose flows would never end by themselves.
    datagrams: BTreeSet<u32>,
    /// Backends that nobody is to be bound to any more.
    unbound: BTreeSet<u32>,
    ranges: Vec<SourceRangeKey>,
    names: Vec<u32>,
}

impl Gone {
    /// A port as a whole.
    pub(super) fn port(&mut self, desired: &Desired, installed: &Installed, key: &PortKey) {
        let Some(port) = installed.port(key) else { return };
        self.unclaimed(desired, installed, port);
        self.backends(key, port.backends.values());
        if has_affinity(installed, port) {
            self.unbound.extend(port.backends.values());
        }
        self.ranges.extend(installed.ranges_of(port.id));
        self.names.push(port.id);
    }

    /// What a port no longer needs.
    pub(super) fn leftovers(&mut self, desired: &Desired, installed: &Installed, key: &PortKey, port: &Port) {
        let Some(known) = installed.port(key) else { return };
        self.unclaimed(desired, installed, known);
        let wanted = port.backends();
        let unwanted = known.backends.iter().filter(|(place, _)| !wanted.contains_key(*place));
        self.backends(key, unwanted.map(|(_, id)| id));
        if has_affinity(installed, known) {
            let left = known.backends.iter().filter(|(place, id)| {
                let before = installed.backends().get(id).map_or(0, |value| value.flags);
                let lost = before & !wanted.get(*place).copied().unwrap_or(0);
                port.affinity_s == 0 || lost & (BACKEND_IN_CLUSTER | BACKEND_IN_LOCAL) != 0
            });
            self.unbound.extend(left.map(|(_, id)| id));
        }
        let ranges: BTreeSet<SourceRangeKey> = port.ranges.iter().map(|range| range.key(known.id)).collect();
        self.ranges.extend(installed.ranges_of(known.id).filter(|range| !ranges.contains(range)));
    }

    /// Whether some frontend of an address stays.
    pub(super) fn leaves_some(&self, installed: &Installed, address: &Addr) -> bool {
        installed.frontends_of(address).any(|frontend| !self.frontends.contains(frontend))
    }

    fn unclaimed(&mut self, desired: &Desired, installed: &Installed, port: &InstalledPort) {
        let frontends = installed.frontends_by(port.id);
        self.frontends.extend(frontends.filter(|frontend| desired.owner(frontend).is_none()));
    }

    fn backends<'a>(&mut self, key: &PortKey, ids: impl Iterator<Item = &'a u32>) {
        let ids: Vec<u32> = ids.copied().collect();
        if key.protocol == Protocol::Udp {
            self.datagrams.extend(&ids);
        }
        self.backends.extend(ids);
    }

    /// In order.
    pub(super) fn steps(self) -> impl Iterator<Item = Step> {
        let Self { finish, addresses, frontends, backends, datagrams, unbound, ranges, names } = self;
        let some = |backends: BTreeSet<u32>| Some(backends).filter(|backends| !backends.is_empty());
        let frontends = frontends.into_iter().map(|key| Step::RemoveFrontend { key });
        let backends = backends.into_iter().map(|id| Step::RetireBackend { id });
        let purge = some(datagrams).into_iter().map(|backends| Step::PurgeFlows { backends });
        let forget = some(unbound).into_iter().map(|backends| Step::ForgetAffinity { backends });
        let ranges = ranges.into_iter().map(|key| Step::RemoveRange { key });
        let addresses = addresses.into_iter().map(|address| Step::RemoveAddress { address });
        let names = names.into_iter().map(|id| Step::RemoveName { id });
        let changes = frontends.chain(finish).chain(backends).chain(purge).chain(forget);
        changes.chain(ranges).chain(addresses).chain(names)
    }
}

fn has_affinity(installed: &Installed, port: &InstalledPort) -> bool {
    let mut values = installed.frontends_by(port.id).filter_map(|key| installed.frontends().get(key));
    values.any(|value| value.affinity_s != 0)
}
