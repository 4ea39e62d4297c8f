//! Nanoseconds a packet in the XDP program, by the kernel's own measure (`BPF_PROG_TEST_RUN`).
//!
//! Rows are run in turn, round after round, so that a noisy moment hits all of them alike. The
//! harness row is the packet feeder with nothing behind it; the net column is without it.

use std::net::IpAddr;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use etherparse::PacketBuilder;
use seaway_common::{
    Addr, BACKEND_SERVING, BackendValue, Be16, Capacities, Config, SERVICE_EXTERNAL, ServiceKey,
    ServiceValue, Slice, proto,
};
use seaway_dataplane::Maps;
use seaway_dataplane::feeder::{Feed, Feeder};
use seaway_dataplane::kernel_maps::KernelMaps;
use seaway_dataplane::probe::Probe;
use seaway_dataplane::programs::Programs;
use seaway_harness::WayOut;

const ROUNDS: usize = 11;
const PACKETS: u32 = 1_000_000;
const BACKENDS: u32 = 10;
/// Endpoints of the service whose clients are masqueraded. Each has 20,000 ports of the node, of which
/// this many flows take a fifth at most: ports are as easy to find as on a node that is not full.
const MASQUERADED_BACKENDS: u32 = 250;
const MASQUERADED_FLOWS: u32 = 100_000;
const EXTERNAL: &str = "203.0.113.80";
/// Offset of the source port behind an IPv4 header without options, and behind an IPv6 header.
const PORT_V4: u32 = 34;
const PORT_V6: u32 = 54;
/// Offset of the source address's last two bytes.
const ADDR_V4: u32 = 28;
const ADDR_V6: u32 = 36;

struct Row {
    name: &'static str,
    packet: Vec<u8>,
    flows: u32,
    /// Packets of a round.
    packets: u32,
    balancer: bool,
    v4: bool,
    /// The packet that opens each flow, where `packet` itself does not.
    opener: Option<Vec<u8>>,
    nanos: Vec<u64>,
}

fn main() -> Result<()> {
    if !seaway_harness::require_root("prog_run") {
        return Ok(());
    }
    // The feeder's packets are in one buffer each, and it can only call programs that take no others.
    let probe = Probe { xdp_frags: false, ..Probe::run()? };
    let capacities = Capacities { flows_v4: 4_194_304, ..Capacities::DEFAULT };
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
    for row in &*rows {
        if let Some(opener) = &row.opener {
            feeder.target(programs)?;
            feeder.run(&feed(row, opener), row.flows)?;
        }
    }
    for _ in 0..ROUNDS {
        for row in &mut *rows {
            if row.balancer {
                feeder.target(programs)?;
            } else {
                feeder.target_nothing()?;
            }
            let mean = feeder.run(&feed(row, &row.packet), row.packets).context(row.name)?;
            row.nanos.push(u64::try_from(mean.as_nanos())?);
        }
    }
    Ok(())
}

fn feed<'a>(row: &Row, packet: &'a [u8]) -> Feed<'a> {
    let (port_offset, addr_offset) = if row.v4 { (PORT_V4, ADDR_V4) } else { (PORT_V6, ADDR_V6) };
    Feed { packet, flows: row.flows, port_offset, addr_offset }
}

/// Services of ten backends: cluster IPs for TCP and UDP, and an external address whose clients are
/// masqueraded.
fn install(maps: &mut KernelMaps) -> Result<()> {
    let node: IpAddr = "198.18.0.1".parse()?;
    maps.put_config(&Config { snat_v4: node.into(), ..Config::new() })?;
    let mut id = 0;
    let mut offset = 0;
    for (service, (vip, proto, flags, backends)) in (0u32..).zip([
        ("10.96.0.80", proto::TCP, 0, BACKENDS),
        ("10.96.0.80", proto::UDP, 0, BACKENDS),
        ("fd96::80", proto::TCP, 0, BACKENDS),
        (EXTERNAL, proto::TCP, SERVICE_EXTERNAL, MASQUERADED_BACKENDS),
    ]) {
        let cluster = Slice { offset, len: backends };
        offset += backends;
        let mut ids = Vec::new();
        for host in 0..backends {
            let addr: IpAddr =
                if vip.contains(':') { format!("fd77::{host:x}") } else { format!("10.77.0.{host}") }
                    .parse()?;
            let value = BackendValue {
                addr: addr.into(),
                port: Be16::new(8080),
                proto,
                flags: BACKEND_SERVING,
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
    let row = |name, packet: Vec<u8>, flows, balancer, v4| Row {
        name,
        packet,
        flows,
        packets: PACKETS,
        balancer,
        v4,
        opener: None,
        nanos: Vec::new(),
    };
    let established = |name, flows| Row {
        opener: Some(tcp(80, 1, true)),
        ..row(name, tcp(80, 1, false), flows, true, true)
    };
    vec![
        row("harness", tcp(80, 1, false), 1, false, true),
        row("pass-through", tcp(81, 1, false), 1, true, true),
        established("TCP established, 1 flow", 1),
        established("TCP established, 1k flows", 1_000),
        established("TCP established, 10k flows", 10_000),
        established("TCP established, 1M flows", 1_000_000),
        Row { opener: Some(tcp6(true)), ..row("TCP established, IPv6, 1 flow", tcp6(false), 1, true, false) },
        row("UDP, 1 flow", udp(), 1, true, true),
        row("TCP new flow", tcp(80, 2, true), u32::MAX, true, true),
        Row {
            opener: Some(tcp_to(EXTERNAL, 80, 4, true)),
            ..row("TCP masqueraded, established, 1k flows", tcp_to(EXTERNAL, 80, 4, false), 1_000, true, true)
        },
        Row {
            packets: MASQUERADED_FLOWS,
            ..row("TCP masqueraded, new flow", tcp_to(EXTERNAL, 80, 5, true), u32::MAX, true, true)
        },
    ]
}

fn tcp(port: u16, net: u8, syn: bool) -> Vec<u8> {
    tcp_to("10.96.0.80", port, net, syn)
}

fn tcp_to(vip: &str, port: u16, net: u8, syn: bool) -> Vec<u8> {
    let vip = vip.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED).octets();
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([192, net, 0, 0], vip, 64);
    let tcp = ip.tcp(1024, port, 1, 65535);
    written(if syn { tcp.syn() } else { tcp.ack(1) })
}

fn tcp6(syn: bool) -> Vec<u8> {
    let vip = "fd96::80".parse::<std::net::Ipv6Addr>().unwrap_or(std::net::Ipv6Addr::UNSPECIFIED).octets();
    let client =
        "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap_or(std::net::Ipv6Addr::UNSPECIFIED).octets();
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv6(client, vip, 64);
    let tcp = ip.tcp(1024, 80, 1, 65535);
    written(if syn { tcp.syn() } else { tcp.ack(1) })
}

fn udp() -> Vec<u8> {
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [192, 3, 0, 0],
        [10, 96, 0, 80],
        64,
    );
    let mut packet = Vec::new();
    ip.udp(1024, 80).write(&mut packet, &[0; 64]).expect("memory takes any packet");
    packet
}

fn written(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
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
