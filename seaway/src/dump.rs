//! `seaway dump`: what the BPF maps hold, whether an agent runs or not.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use seaway_common::{
    Addr, Be16, FLOW_ESTABLISHED, FLOW_FIN_FORWARD, FLOW_FIN_REPLY, FLOW_FORWARD, FLOW_KERNEL, FlowKey,
    FlowValue, SERVICE_EXTERNAL, SERVICE_EXTERNAL_LOCAL, SERVICE_INTERNAL_LOCAL, SERVICE_LOOPBACK,
    SERVICE_STAND_IN, ServiceValue, flow_ended, proto,
};
use seaway_dataplane::counters::Counters;
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::preferences::name_of;
use seaway_dataplane::stand_in::StandIn;
use seaway_dataplane::{Installed, pins};
use serde::Serialize;

use crate::node::Places;
use crate::table::{self, Output};

/// `seaway dump`
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// What to print.
    what: What,
    /// How to print it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    places: Places,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Frontends with their candidates.
    Services,
    /// Endpoints of service ports with their traffic.
    Backends,
    /// Tracked flows, a row for each.
    Flows,
}

#[derive(Serialize)]
struct ServiceRow {
    service: String,
    frontend: SocketAddr,
    protocol: &'static str,
    kind: String,
    inside: &'static str,
    outside: &'static str,
    id: u32,
    cluster: Vec<SocketAddr>,
    local: Vec<SocketAddr>,
    affinity_s: u32,
    placed: u64,
    refused: u64,
}

#[derive(Serialize)]
struct BackendRow {
    id: u32,
    service: String,
    backend: SocketAddr,
    protocol: &'static str,
    local: bool,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct FlowRow {
    protocol: &'static str,
    client: SocketAddr,
    frontend: SocketAddr,
    backend: SocketAddr,
    service: String,
    state: &'static str,
}

/// Prints one kind of rows.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = pins::maps(&args.places.pin_dir);
    let maps = KernelMaps::open(&folder)
        .with_context(|| format!("nothing to read in {}: has an agent run here?", folder.display()))?;
    let installed = Installed::read(&maps)?;
    let counters = Counters::open(&folder)?;
    match args.what {
        What::Services => {
            let stands_in = StandIn::open(&folder)?.holds()?;
            services(args.output, &installed, &counters, stands_in)
        }
        What::Backends => backends(args.output, &installed, &counters),
        What::Flows => flows(args.output, &installed, &maps),
    }
}

fn services(output: Output, installed: &Installed, counters: &Counters, stands_in: bool) -> Result<()> {
    let mut rows = Vec::new();
    for (key, value) in installed.frontends() {
        let targets = |slice| -> Vec<SocketAddr> {
            let found = installed.ids_in(slice).iter().filter_map(|id| installed.backends().get(id));
            found.map(|backend| address(backend.addr, backend.port)).collect()
        };
        let counted = counters.service(value.service).unwrap_or_default();
        rows.push(ServiceRow {
            service: name(installed, value.service),
            frontend: address(key.addr, key.port),
            protocol: protocol(key.proto),
            kind: kind(value, stands_in),
            inside: name_of(value.algorithm(true)),
            outside: name_of(value.algorithm(false)),
            id: value.service,
            cluster: targets(value.cluster),
            local: targets(value.local),
            affinity_s: value.affinity_s,
            placed: counted.placed,
            refused: counted.refused,
        });
    }
    let header = [
        "SERVICE",
        "FRONTEND",
        "PROTO",
        "KIND",
        "INSIDE",
        "OUTSIDE",
        "ENDPOINTS",
        "LOCAL",
        "PLACED",
        "REFUSED",
    ];
    table::print(output, &rows, header, |row| {
        [
            row.service.clone(),
            row.frontend.to_string(),
            row.protocol.to_owned(),
            row.kind.clone(),
            row.inside.to_owned(),
            row.outside.to_owned(),
            list(&row.cluster),
            list(&row.local),
            row.placed.to_string(),
            row.refused.to_string(),
        ]
    })
}

fn backends(output: Output, installed: &Installed, counters: &Counters) -> Result<()> {
    let rows: Vec<BackendRow> = installed
        .backends()
        .iter()
        .map(|(id, value)| {
            let counted = counters.backend(*id).unwrap_or_default();
            BackendRow {
                id: *id,
                service: name(installed, value.service),
                backend: address(value.addr, value.port),
                protocol: protocol(value.proto),
                local: value.flags & seaway_common::BACKEND_LOCAL != 0,
                packets: counted.packets,
                bytes: counted.bytes,
            }
        })
        .collect();
    let header = ["ID", "SERVICE", "BACKEND", "PROTO", "LOCAL", "PACKETS", "BYTES"];
    table::print(output, &rows, header, |row| {
        [
            row.id.to_string(),
            row.service.clone(),
            row.backend.to_string(),
            row.protocol.to_owned(),
            row.local.to_string(),
            row.packets.to_string(),
            row.bytes.to_string(),
        ]
    })
}

fn flows(output: Output, installed: &Installed, maps: &KernelMaps) -> Result<()> {
    let mut flows = maps.flows()?;
    flows.retain(|(_, value)| value.state & FLOW_FORWARD != 0);
    flows.sort_unstable_by_key(|(key, _)| *key);
    let row = |(key, value): &(FlowKey, FlowValue)| {
        let service = installed.backends().get(&value.backend).map(|backend| backend.service);
        FlowRow {
            protocol: protocol(key.proto),
            client: address(key.src, key.sport),
            frontend: address(key.dst, key.dport),
            backend: address(value.to.dst, value.to.dport),
            service: service.map(|id| name(installed, id)).unwrap_or_default(),
            state: state(value.state),
        }
    };
    let rows: Vec<FlowRow> = flows.iter().map(row).collect();
    let header = ["PROTO", "CLIENT", "FRONTEND", "BACKEND", "SERVICE", "STATE"];
    table::print(output, &rows, header, |row| {
        [
            row.protocol.to_owned(),
            row.client.to_string(),
            row.frontend.to_string(),
            row.backend.to_string(),
            row.service.clone(),
            row.state.to_owned(),
        ]
    })
}

fn kind(value: &ServiceValue, stands_in: bool) -> String {
    let server = match (value.has(SERVICE_STAND_IN), stands_in) {
        (false, _) => "",
        (true, true) => ",node-dns",
        (true, false) => ",node-dns-silent",
    };
    let place =
        match (value.has(SERVICE_EXTERNAL), value.has(SERVICE_LOOPBACK), value.has(SERVICE_EXTERNAL_LOCAL)) {
            (_, true, _) => "loopback",
            (true, _, true) => "external,local",
            (true, ..) => "external",
            _ if value.has(SERVICE_INTERNAL_LOCAL) => "cluster-ip,local",
            _ => "cluster-ip",
        };
    format!("{place}{server}")
}

fn name(installed: &Installed, service: u32) -> String {
    installed.key_of(service).map(ToString::to_string).unwrap_or_default()
}

fn address(addr: Addr, port: Be16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(addr), port.get())
}

fn protocol(number: u8) -> &'static str {
    match number {
        proto::TCP => "tcp",
        proto::UDP => "udp",
        proto::SCTP => "sctp",
        _ => "?",
    }
}

fn state(bits: u16) -> &'static str {
    if bits & FLOW_KERNEL != 0 {
        "kernel"
    } else if flow_ended(bits) {
        "closed"
    } else if bits & (FLOW_FIN_FORWARD | FLOW_FIN_REPLY) != 0 {
        "half-closed"
    } else if bits & FLOW_ESTABLISHED != 0 {
        "established"
    } else {
        "new"
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "<none>".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
