//! What maps hold, as text that people read: frontends, their lists, and what belongs to none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use seaway_common::{
    ADDRESS_CLUSTER_IP, Addr, Algorithm, BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, BACKEND_LOCAL,
    BACKEND_SERVING, BackendValue, Be16, SERVICE_CROSS, SERVICE_DSR, SERVICE_EXTERNAL,
    SERVICE_EXTERNAL_LOCAL, SERVICE_GUARDED, SERVICE_INTERNAL_LOCAL, SERVICE_LOOPBACK, SERVICE_NEAR,
    SERVICE_SOMEWHERE, ServiceKey, ServiceValue, Slice, proto,
};
use seaway_dataplane::{Maps, maps::Error, preferences::name_of};

/// What maps hold, without the ids that tie it together: two ways to the same state give the same
/// contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Every frontend.
    pub frontends: BTreeMap<ServiceKey, Frontend>,
    /// Every virtual address, and whether it is a cluster IP.
    pub addresses: BTreeMap<Addr, u32>,
    /// Names that no frontend has, and backends that no frontend leads to.
    pub strays: BTreeSet<String>,
}

/// What a frontend leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// `namespace/name:port`; empty if the id has no name.
    pub name: String,
    /// Flags and affinity, in words.
    pub options: Vec<String>,
    /// Candidates under policy `Cluster`, in order.
    pub cluster: Vec<Destination>,
    /// Candidates under policy `Local`, in order.
    pub local: Vec<Destination>,
}

/// What a slot leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A backend that takes traffic; whether it is on this node.
    Backend(SocketAddr, bool),
    /// A hole, or a backend of another service port: traffic to it is lost or goes astray.
    Dangling,
}

impl Contents {
    /// Reads maps.
    ///
    /// # Errors
    /// The first map operation that fails.
    pub fn read(maps: &impl Maps) -> Result<Self, Error> {
        let names: BTreeMap<u32, String> =
            maps.names()?.iter().map(|(id, name)| (*id, name.as_str().to_owned())).collect();
        let backends: BTreeMap<u32, BackendValue> = maps.backends()?.into_iter().collect();
        let ranges = maps.source_ranges()?;
        let mut unused_names = names.clone();
        let mut unused_backends = backends.clone();
        let mut frontends = BTreeMap::new();
        for (key, value) in maps.frontends()? {
            unused_names.remove(&value.service);
            let mut list = |slice: Slice| -> Result<Vec<Destination>, Error> {
                let ids = maps.slots(slice)?;
                unused_backends.retain(|id, _| !ids.contains(id));
                let missing = (slice.len as usize).saturating_sub(ids.len()).min(1);
                let found = ids.iter().map(|id| destination(backends.get(id), &key, &value));
                Ok(found.chain(std::iter::repeat_n(Destination::Dangling, missing)).collect())
            };
            let (cluster, local) = (list(value.cluster)?, list(value.local)?);
            let name = names.get(&value.service).cloned().unwrap_or_default();
            let own = ranges.iter().filter(|range| range.service == value.service);
            let mut options = options(&value);
            options.extend(own.map(|range| {
                let mapped = if range.addr.is_v4() { 96 } else { 0 };
                format!("from={}/{}", IpAddr::from(range.addr), range.prefix_len.saturating_sub(32 + mapped))
            }));
            frontends.insert(key, Frontend { name, options, cluster, local });
        }
        // What drains is in no list, and when it stays depends on what there was before.
        let member = BACKEND_IN_CLUSTER | BACKEND_IN_LOCAL;
        unused_backends.retain(|_, value| value.flags & member != 0 || !names.contains_key(&value.service));
        let stray_backends =
            unused_backends.values().map(|value| format!("backend {}", socket(value.addr, value.port)));
        let strays = unused_names.values().map(|name| format!("name {name}")).chain(stray_backends).collect();
        let addresses = maps.addresses()?.into_iter().collect();
        Ok(Self { frontends, addresses, strays })
    }
}

impl Frontend {
    /// Every destination of both lists.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.cluster.iter().chain(&self.local)
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, Frontend { name, options, cluster, local }) in &self.frontends {
            write!(f, "{}/{} {name}", socket(key.addr, key.port), protocol(key.proto))?;
            options.iter().try_for_each(|option| write!(f, " {option}"))?;
            for (list, destinations) in [("cluster", cluster), ("local", local)] {
                write!(f, "\n  {list}:")?;
                destinations.iter().try_for_each(|destination| write!(f, " {destination}"))?;
            }
            writeln!(f)?;
        }
        for (address, bits) in &self.addresses {
            let kind = if bits & ADDRESS_CLUSTER_IP != 0 { "cluster-ip" } else { "external" };
            writeln!(f, "address {} {kind}", IpAddr::from(*address))?;
        }
        self.strays.iter().try_for_each(|stray| writeln!(f, "stray {stray}"))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(address, local) => write!(f, "{address}{}", if *local { "*" } else { "" }),
            Self::Dangling => f.write_str("dangling"),
        }
    }
}

fn destination(backend: Option<&BackendValue>, key: &ServiceKey, value: &ServiceValue) -> Destination {
    let serving = backend.filter(|backend| {
        backend.flags & BACKEND_SERVING != 0 && backend.service == value.service && backend.proto == key.proto
    });
    serving.map_or(Destination::Dangling, |backend| {
        Destination::Backend(socket(backend.addr, backend.port), backend.flags & BACKEND_LOCAL != 0)
    })
}

/// A frontend's flags, algorithms, affinity and tables, in words.
pub fn options(value: &ServiceValue) -> Vec<String> {
    let flags = [
        (SERVICE_EXTERNAL, "external"),
        (SERVICE_LOOPBACK, "loopback"),
        (SERVICE_INTERNAL_LOCAL, "internal-local"),
        (SERVICE_EXTERNAL_LOCAL, "external-local"),
        (SERVICE_GUARDED, "guarded"),
        (SERVICE_DSR, "dsr"),
        (SERVICE_CROSS, "cross"),
        (SERVICE_NEAR, "near"),
        (SERVICE_SOMEWHERE, "somewhere"),
    ];
    let flags = flags.iter().filter(|(bit, _)| value.flags & bit != 0).map(|(_, name)| (*name).to_owned());
    let chosen = [("inside", true), ("outside", false)].map(|(side, inside)| {
        let algorithm = value.algorithm(inside);
        (algorithm != Algorithm::Random).then(|| format!("{side}={}", name_of(algorithm)))
    });
    let affinity = (value.affinity_s != 0).then(|| format!("affinity={}s", value.affinity_s));
    let tables = [("cluster-table", value.cluster_table), ("local-table", value.local_table)];
    let tables = tables.iter().filter(|(_, table)| table.len != 0);
    let tables = tables.map(|(name, table)| format!("{name}={}", table.len));
    flags.chain(chosen.into_iter().flatten()).chain(affinity).chain(tables).collect()
}

fn socket(addr: Addr, port: Be16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(addr), port.get())
}

fn protocol(number: u8) -> String {
    match number {
        proto::TCP => "tcp".into(),
        proto::UDP => "udp".into(),
        proto::SCTP => "sctp".into(),
        other => other.to_string(),
    }
}
