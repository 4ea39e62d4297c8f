//! How large the maps are made.

use clap::Args as ClapArgs;
use seaway_common::Capacities;

/// Entries of the maps. Maps that are there already keep their size.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Capacities")]
#[group(skip)]
pub(super) struct Args {
    /// Virtual addresses and ports.
    #[arg(long, env = "SEAWAY_FRONTENDS_MAX", default_value_t = Capacities::DEFAULT.frontends)]
    frontends_max: u32,
    /// Service ports.
    #[arg(long, env = "SEAWAY_SERVICES_MAX", default_value_t = Capacities::DEFAULT.services)]
    services_max: u32,
    /// Endpoints of service ports.
    #[arg(long, env = "SEAWAY_BACKENDS_MAX", default_value_t = Capacities::DEFAULT.backends)]
    backends_max: u32,
    /// Places that endpoints take in selection lists.
    #[arg(long, env = "SEAWAY_SLOTS_MAX", default_value_t = Capacities::DEFAULT.slots)]
    slots_max: u32,
    /// Flow entries over IPv4, two a flow.
    #[arg(long, env = "SEAWAY_FLOWS_V4_MAX", default_value_t = Capacities::DEFAULT.flows_v4)]
    flows_v4_max: u32,
    /// Flow entries over IPv6, two a flow.
    #[arg(long, env = "SEAWAY_FLOWS_V6_MAX", default_value_t = Capacities::DEFAULT.flows_v6)]
    flows_v6_max: u32,
    /// Socket entries, two a connected socket.
    #[arg(long, env = "SEAWAY_SOCKETS_MAX", default_value_t = Capacities::DEFAULT.sockets)]
    sockets_max: u32,
    /// Ranges of clients in loadBalancerSourceRanges.
    #[arg(long, env = "SEAWAY_SOURCE_RANGES_MAX", default_value_t = Capacities::DEFAULT.source_ranges)]
    source_ranges_max: u32,
    /// Clients that session affinity binds to an endpoint.
    #[arg(long, env = "SEAWAY_AFFINITY_MAX", default_value_t = Capacities::DEFAULT.affinity)]
    affinity_max: u32,
    /// Datagrams whose later fragments may come.
    #[arg(long, env = "SEAWAY_FRAGMENTS_MAX", default_value_t = Capacities::DEFAULT.fragments)]
    fragments_max: u32,
    /// Network devices of this node.
    #[arg(long, env = "SEAWAY_DEVICES_MAX", default_value_t = Capacities::DEFAULT.devices)]
    devices_max: u32,
}

impl Args {
    /// As the dataplane takes them; a map has at least one entry.
    pub(super) fn capacities(&self) -> Capacities {
        Capacities {
            frontends: self.frontends_max.max(1),
            services: self.services_max.max(1),
            backends: self.backends_max.max(1),
            slots: self.slots_max.max(1),
            flows_v4: self.flows_v4_max.max(1),
            flows_v6: self.flows_v6_max.max(1),
            sockets: self.sockets_max.max(1),
            source_ranges: self.source_ranges_max.max(1),
            affinity: self.affinity_max.max(1),
            fragments: self.fragments_max.max(1),
            devices: self.devices_max.max(1),
        }
    }
}
