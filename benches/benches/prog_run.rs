//! Nanoseconds a packet in the XDP program, by the kernel's own measure (`BPF_PROG_TEST_RUN`).
//!
//! Rows are run in turn, round after round, so that a noisy moment hits all of them alike. The
//! harness row is the packet feeder with nothing behind it; the net column is without it.
//!
//! A row about flows that begin has clients that were never seen before in each round. One about flows that
//! exist has its clients' earlier packets sent in each round too, not measured: new flows of other rows may
//! have pushed theirs out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use seaway_common::{
    Addr, BACKEND_LOCAL, BACKEND_SERVING, BackendValue, Be16, Capacities, Config, SERVICE_DSR,
    SERVICE_EXTERNAL, ServiceKey, ServiceValue, Slice, proto,
};
use seaway_dataplane::Maps;
use seaway_dataplane::feeder::{Feed, Feeder};
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_harness::WayOut;

const ROUNDS: usize = 11;
const PACKETS: u32 = 1_000_000;
/// Packets of a round where each begins a flow, or is one of few of its flow.
const FRESH: u32 = 100_000;
const BACKENDS: u32 = 10;
/// Endpoints of the service whose clients are masqueraded. Each has 20,000 ports of the node, of which new
/// flows take a fifth at most: ports are as easy to find as on a node that is not full.
const MASQUERADED_BACKENDS: u32 = 250;
const CLUSTER: &str = "10.96.0.80";
const CLUSTER_V6: &str = "fd96::80";
/// Of one endpoint, so that it is known what its replies look like.
const SINGLE: &str = "10.96.0.81";
const SINGLE_ENDPOINT: [u8; 4] = [10, 77, 0, 0];
const EXTERNAL: &str = "203.0.113.80";
const DSR: &str = "203.0.113.81";
/// Its endpoints are on this node.
const LOCAL: &str = "203.0.113.82";
const ENDPOINT_PORT: u16 = 8080;
/// Offsets of the client's port and of its address's last two bytes: in IPv4 packets without options to
/// the service and from it, and in IPv6 packets to it.
const TO: (u32, u32) = (34, 28);
const FROM: (u32, u32) = (36, 32);
const TO_V6: (u32, u32) = (54, 36);
/// TCP flags.
const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;

/// A packet that differs by client.
struct Frame {
    packet: Vec<u8>,
    /// Where the client's port and address are.
    client: (u32, u32),
    /// Whether it leaves in another packet.
    wrapped: bool,
}

struct Row {
    name: &'static str,
    frame: Frame,
    /// Packets of each flow that come before, in every round.
    before: Vec<Frame>,
    /// Clients, each a flow.
    flows: u32,
    /// Whether clients are others in each round; then each sends one packet.
    fresh: bool,
    balancer: bool,
    nanos: Vec<u64>,
}

impl Frame {
    const fn new(packet: Vec<u8>, client: (u32, u32)) -> Self {
        Self { packet, client, wrapped: false }
    }
}

fn main() -> Result<()> {
    if !seaway_harness::require_root("prog_run") {
        return Ok(());
    }
    // The feeder's packets are in one buffer each, and it can only call programs that take no others.
    let probe = Probe { xdp_frags: false, ..Probe::run()? };
    let capacities = Capacities { flows_v4: 8_388_608, ..Capacities::DEFAULT };
    let mut programs = Programs::load(&probe, &capacities, None)?;
    install(&mut programs.maps()?)?;
    // Where masqueraded packets are routed; nothing leaves it.
    let way_out = WayOut::new()?;
    programs.devices()?.follow(&way_out.links(true)?)?;
    let mut feeder = Feeder::load()?;
    let mut rows = rows();
    way_out.namespace.run(|| measure(&mut feeder, &mut programs, &mut rows))??;
    println!("{}", table(&mut rows));
    Ok(())
}

/// All rows, round after round.
fn measure(feeder: &mut Feeder, programs: &mut Programs, rows: &mut [Row]) -> Result<()> {
    for round in 0..u32::try_from(ROUNDS)? {
        for row in &mut *rows {
            let first = if row.fresh { round * row.flows } else { 0 };
            feeder.target(programs)?;
            for frame in &row.before {
                feeder.run(&feed(frame, row.flows, first), row.flows).context(row.name)?;
            }
            if !row.balancer {
                feeder.target_nothing()?;
            }
            let packets = if row.fresh { row.flows } else { PACKETS };
            let mean = feeder.run(&feed(&row.frame, row.flows, first), packets).context(row.name)?;
            row.nanos.push(u64::try_from(mean.as_nanos())?);
        }
    }
    Ok(())
}

fn feed(frame: &Frame, flows: u32, first: u32) -> Feed<'_> {
    let (port_offset, addr_offset) = frame.client;
    Feed { packet: &frame.packet, flows, first, wrapped: frame.wrapped, port_offset, addr_offset }
}

/// Cluster IPs for TCP and UDP, and external addresses: masqueraded, answered by the endpoint itself, and
/// with endpoints on this node.
fn install(maps: &mut KernelMaps) -> Result<()> {
    let node: IpAddr = "198.18.0.1".parse()?;
    maps.put_config(&Config { snat_v4: node.into(), ..Config::new() })?;
    let mut id = 0;
    let mut offset = 0;
    for (service, (vip, proto, flags, backends, backend_flags)) in (0u32..).zip([
        (CLUSTER, proto::TCP, 0, BACKENDS, 0),
        (CLUSTER, proto::UDP, 0, BACKENDS, 0),
        (CLUSTER_V6, proto::TCP, 0, BACKENDS, 0),
        (SINGLE, proto::TCP, 0, 1, 0),
        (EXTERNAL, proto::TCP, SERVICE_EXTERNAL, MASQUERADED_BACKENDS, 0),
        (DSR, proto::TCP, SERVICE_EXTERNAL | SERVICE_DSR, BACKENDS, 0),
        (LOCAL, proto::TCP, SERVICE_EXTERNAL, BACKENDS, BACKEND_LOCAL),
    ]) {
        let cluster = Slice { offset, len: backends };
        offset += backends.next_multiple_of(seaway_common::SLOTS_PER_VALUE);
        let mut ids = Vec::new();
        for host in 0..backends {
            let addr: IpAddr =
                if vip.contains(':') { format!("fd77::{host:x}") } else { format!("10.77.0.{host}") }
                    .parse()?;
            let value = BackendValue {
                addr: addr.into(),
                port: Be16::new(ENDPOINT_PORT),
                proto,
                flags: BACKEND_SERVING | backend_flags,
                service,
            };
            maps.put_backend(id, &value)?;
            ids.push(id);
            id += 1;
        }
        maps.put_slots(cluster.offset, &ids)?;
        let addr = Addr::from(vip.parse::<IpAddr>()?);
        let key = ServiceKey { addr, port: Be16::new(80), proto, ..ServiceKey::default() };
        maps.put_frontend(&key, &ServiceValue { service, cluster, flags, ..ServiceValue::default() })?;
    }
    Ok(())
}

fn rows() -> Vec<Row> {
    let row = |name, frame, before, flows| Row {
        name,
        frame,
        before,
        flows,
        fresh: false,
        balancer: true,
        nanos: Vec::new(),
    };
    let fresh = |name, frame, before| Row { fresh: true, ..row(name, frame, before, FRESH) };
    let to = |vip, net, flags| Frame { wrapped: vip == DSR, ..Frame::new(tcp_to(vip, 80, net, flags), TO) };
    let from = |net, flags| Frame::new(tcp_from(net, flags), FROM);
    let handshake = |net| vec![to(SINGLE, net, SYN), from(net, SYN | ACK), to(SINGLE, net, ACK)];
    let established = |name, flows| row(name, to(SINGLE, 1, ACK), handshake(1), flows);
    let v6 = |flags| Frame::new(tcp6(flags), TO_V6);
    let nothing = Vec::new;
    let beyond = Frame::new(tcp_to(CLUSTER, 81, 1, ACK), TO);
    vec![
        Row { balancer: false, ..row("harness", to(CLUSTER, 1, ACK), nothing(), 1) },
        row("pass-through", beyond, nothing(), 1),
        established("TCP established, 1 flow", 1),
        established("TCP established, 1k flows", 1_000),
        established("TCP established, 10k flows", 10_000),
        established("TCP established, 1M flows", 1_000_000),
        row("TCP established, IPv6, 1 flow", v6(ACK), vec![v6(SYN)], 1),
        row("UDP, 1 flow", Frame::new(udp(), TO), nothing(), 1),
        row("TCP established, reply, 1k flows", from(2, ACK), handshake(2), 1_000),
        row(
            "TCP masqueraded, established, 1k flows",
            to(EXTERNAL, 3, ACK),
            vec![to(EXTERNAL, 3, SYN)],
            1_000,
        ),
        row("TCP DSR, established, 1k flows", to(DSR, 4, ACK), vec![to(DSR, 4, SYN)], 1_000),
        row("TCP local endpoint, established, 1k flows", to(LOCAL, 5, ACK), vec![to(LOCAL, 5, SYN)], 1_000),
        fresh("TCP new flow (SYN)", to(CLUSTER, 16, SYN), nothing()),
        fresh("TCP SYN-ACK", from(32, SYN | ACK), vec![to(SINGLE, 32, SYN)]),
        fresh(
            "TCP last ACK of a handshake",
            to(SINGLE, 48, ACK),
            vec![to(SINGLE, 48, SYN), from(48, SYN | ACK)],
        ),
        fresh("TCP FIN", to(SINGLE, 64, FIN | ACK), handshake(64)),
        fresh("TCP masqueraded, new flow", to(EXTERNAL, 80, SYN), nothing()),
        fresh("TCP DSR, new flow", to(DSR, 96, SYN), nothing()),
        fresh("TCP local endpoint, new flow", to(LOCAL, 112, SYN), nothing()),
    ]
}

/// From client 192.`net`.0.0, port 1024.
fn tcp_to(vip: &str, port: u16, net: u8, flags: u8) -> Vec<u8> {
    let vip = vip.parse().unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([192, net, 0, 0], vip, 64);
    written(ip.tcp(1024, port, 1, 65535), flags)
}

/// From the endpoint of [`SINGLE`] to the same client.
fn tcp_from(net: u8, flags: u8) -> Vec<u8> {
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        SINGLE_ENDPOINT,
        [192, net, 0, 0],
        64,
    );
    written(ip.tcp(ENDPOINT_PORT, 1024, 1, 65535), flags)
}

fn tcp6(flags: u8) -> Vec<u8> {
    let vip = CLUSTER_V6.parse().unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
    let client = "2001:db8::1".parse().unwrap_or(Ipv6Addr::UNSPECIFIED).octets();
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv6(client, vip, 64);
    written(ip.tcp(1024, 80, 1, 65535), flags)
}

fn udp() -> Vec<u8> {
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [192, 6, 0, 0],
        [10, 96, 0, 80],
        64,
    );
    let mut packet = Vec::new();
    ip.udp(1024, 80).write(&mut packet, &[0; 64]).expect("memory takes any packet");
    packet
}

fn written(mut builder: PacketBuilderStep<TcpHeader>, flags: u8) -> Vec<u8> {
    if flags & SYN != 0 {
        builder = builder.syn();
    }
    if flags & FIN != 0 {
        builder = builder.fin();
    }
    if flags & ACK != 0 {
        builder = builder.ack(2);
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, &[0; 64]).expect("memory takes any packet");
    packet
}

fn table(rows: &mut [Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "PACKET",
        "NS MEDIAN",
        "NS MIN",
        "NS MAX",
        "NET OF HARNESS",
    ]);
    let mut harness = None;
    for row in rows {
        row.nanos.sort_unstable();
        let median = row.nanos[row.nanos.len() / 2];
        let harness = *harness.get_or_insert(median);
        table.add_row([
            row.name.to_owned(),
            median.to_string(),
            row.nanos[0].to_string(),
            row.nanos[row.nanos.len() - 1].to_string(),
            median.saturating_sub(harness).to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
