//! A generator, a node and a sink in namespaces of their own, with one way of forwarding on the node.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use seaway_common::{
    Addr, BACKEND_SERVING, BackendValue, Be16, Capacities, Config, SERVICE_EXTERNAL, ServiceKey,
    ServiceValue, Slice, proto,
};
use seaway_dataplane::Maps;
use seaway_dataplane::feeder::{self, Feed, Feeder};
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::links::{Device, Links};
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_lab::{End, Namespace, Route, Veth};

use super::rules;

pub(super) const ENDPOINTS: u32 = 3;
pub(super) const PORT: u16 = 80;
/// Client ports, and so flows.
const FLOWS: u32 = 1_000;
const CLIENT: [u8; 4] = [192, 0, 2, 10];
const NODE: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);
const NEXT: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const EXT0_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];
/// Offsets of the source port and of the source address's last two bytes.
const PORT_OFFSET: u32 = 34;
const ADDR_OFFSET: u32 = 28;
/// The sink has seen everything that comes when it saw nothing for so long.
const QUIET: Duration = Duration::from_millis(20);

/// How the node forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Packets end where they enter: what is measured is the generator.
    Nothing,
    /// nftables, as kube-proxy writes it.
    Nftables,
    /// Seaway in the network stack.
    Tcx,
    /// Seaway in the driver.
    Xdp,
}

/// A road from the generator to the sink.
pub(super) struct Road {
    pub(super) kind: Kind,
    pub(super) services: u32,
    feeder: Feeder,
    packet: Vec<u8>,
    out: u32,
    generator: Namespace,
    _others: [Namespace; 2],
    /// Attached for as long as it lives.
    _programs: Option<Programs>,
}

/// One run.
pub(super) struct Run {
    pub(super) arrived: u64,
    pub(super) per_second: f64,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "generator alone",
            Self::Nftables => "nftables",
            Self::Tcx => "seaway, tcx",
            Self::Xdp => "seaway, XDP",
        }
    }
}

impl Road {
    pub(super) fn build(kind: Kind, services: u32) -> Result<Self> {
        let [generator, node, sink] = ["generator", "node", "sink"]
            .map(Namespace::new)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .try_into()
            .map_err(|_| anyhow::anyhow!("three namespaces"))?;
        node.set_forwarding()?;
        let ext0 = End::new(&node, "ext0").mac(EXT0_MAC).address("192.0.2.1/24".parse()?);
        Veth::new(End::new(&generator, "out"), ext0).connect()?;
        let node0 = End::new(&node, "node0").address("172.18.0.1/24".parse()?);
        Veth::new(node0, End::new(&sink, "in").mac(SINK_MAC)).connect()?;
        node.add_neighbour("node0", NEXT.into(), SINK_MAC)?;
        node.add_route(&Route::to("10.128.0.0/9".parse::<ipnet::IpNet>()?).via(NEXT.into()))?;
        let mut feeder = Feeder::load()?;
        let (at, place) = if kind == Kind::Nothing { (&node, "ext0") } else { (&sink, "in") };
        at.run(|| feeder.sink(place))??;
        let programs = match kind {
            Kind::Nothing => None,
            Kind::Nftables => {
                // Frames from another device's XDP enter a veth that takes them in batches.
                node.set_features("ext0", &[("rx-gro", true)])?;
                rules::load(&node, services)?;
                None
            }
            Kind::Tcx | Kind::Xdp => {
                if kind == Kind::Tcx {
                    node.set_features("ext0", &[("rx-gro", true)])?;
                }
                Some(load(&node, services, kind == Kind::Xdp)?)
            }
        };
        let out = generator.run(|| nix::net::if_::if_nametoindex("out"))??;
        let packet = packet(services)?;
        Ok(Self {
            kind,
            services,
            feeder,
            packet,
            out,
            generator,
            _others: [node, sink],
            _programs: programs,
        })
    }

    /// Sends so many packets, and waits until the last one that comes has come.
    pub(super) fn run(&mut self, packets: u32) -> Result<Run> {
        let Self { feeder, packet, out, generator, .. } = self;
        let before = feeder.arrived()?;
        let feed = Feed {
            packet,
            flows: FLOWS,
            first: 0,
            wrapped: false,
            port_offset: PORT_OFFSET,
            addr_offset: ADDR_OFFSET,
        };
        let started = Instant::now();
        generator.run(|| feeder.send(&feed, *out, packets))??;
        let mut last = Instant::now();
        let mut arrived = feeder.arrived()? - before;
        while arrived < u64::from(packets) && last.elapsed() < QUIET {
            let now = feeder.arrived()? - before;
            if now > arrived {
                (arrived, last) = (now, Instant::now());
            }
        }
        let took = last.duration_since(started).as_secs_f64();
        Ok(Run { arrived, per_second: arrived as f64 / took })
    }
}

/// The virtual address of a Service: those of one bench run are all outside of any other range.
pub(super) fn vip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + service)
}

/// The address of an endpoint.
pub(super) fn endpoint(service: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + service * ENDPOINTS + number)
}

/// To the Service in the middle.
fn packet(services: u32) -> Result<Vec<u8>> {
    let ip =
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], EXT0_MAC).ipv4(CLIENT, vip(services / 2).octets(), 64);
    let mut packet = Vec::new();
    ip.udp(20_000, PORT).write(&mut packet, &[0; 64])?;
    // Ports differ from packet to packet, and no checksum is kept right by the generator.
    packet[40..42].fill(0);
    Ok(packet)
}

/// Seaway's programs on the node's outer interface.
fn load(node: &Namespace, services: u32, early: bool) -> Result<Programs> {
    let capacities = Capacities { flows_v4: 65_536, flows_v6: 1_024, sockets: 1_024, ..Capacities::DEFAULT };
    let mut programs = Programs::load(&Probe::run()?, &capacities, None)?;
    install(&mut programs.maps()?, services)?;
    let index = node.run(|| nix::net::if_::if_nametoindex("node0"))??;
    let value =
        seaway_common::DeviceValue { flags: seaway_common::DEVICE_XDP_TRANSMIT, ..Default::default() };
    let device = Device { name: "node0".to_owned(), value, ..Device::default() };
    programs.devices()?.follow(&Links { devices: [(index, device)].into(), ..Links::default() })?;
    node.run(|| feeder::attach(&mut programs, "ext0", early))?.context("attach")?;
    Ok(programs)
}

fn install(maps: &mut KernelMaps, services: u32) -> Result<()> {
    maps.put_config(&Config { snat_v4: Addr::from(IpAddr::from(NODE)), ..Config::new() })?;
    for service in 0..services.max(1) {
        let ids: Vec<u32> = (0..ENDPOINTS).map(|number| service * ENDPOINTS + number).collect();
        for (number, id) in (0..).zip(&ids) {
            let value = BackendValue {
                addr: Addr::from(IpAddr::from(endpoint(service, number))),
                port: Be16::new(8080),
                proto: proto::UDP,
                flags: BACKEND_SERVING,
                service,
            };
            maps.put_backend(*id, &value)?;
        }
        // Slices start at even slots.
        let cluster = Slice { offset: service * ENDPOINTS.next_multiple_of(2), len: ENDPOINTS };
        maps.put_slots(cluster.offset, &ids)?;
        let addr = Addr::from(IpAddr::from(vip(service)));
        let key = ServiceKey { addr, port: Be16::new(PORT), proto: proto::UDP, ..ServiceKey::default() };
        maps.put_frontend(
            &key,
            &ServiceValue { service, cluster, flags: SERVICE_EXTERNAL, ..ServiceValue::default() },
        )?;
    }
    Ok(())
}
