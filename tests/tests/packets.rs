//! A table of packets, with what becomes of each, on the host and in the kernel; and the two
//! compared on packets at random.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use seaway_common::{Addr, Config, FLOW_XDP_HOP, FlowKey, FlowValue, Hop, SERVICE_EXTERNAL, proto};
use seaway_dataplane::{Maps, feeder::Fate};
use seaway_harness::{MemoryTables, bless, privileged};
use seaway_tests::{
    balancer::{Balancer, Kernel},
    data,
    fixtures::fixtures,
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, patient, services},
};

const GOLDEN: &str = "packets.txt";

/// Frontends for outside clients, whose packets are masqueraded and sent on by the programs.
const EXTERNAL: [&str; 2] = ["203.0.113.80:8080", "[2001:db8:80::1]:8080"];
/// Clients of these, whose ports are among those that the node gives out: it keeps them.
const OUTSIDE: [&str; 2] = ["192.0.2.10:20000", "[2001:db8::10]:20000"];
/// What their endpoints see, which the way out has as its own.
const NODE: [&str; 2] = ["198.18.0.1:20000", "[2001:db8:ff::1]:20000"];

/// These services, and the external ones.
fn with_external(mut all: Vec<Virtual>) -> Vec<Virtual> {
    for (vip, backends) in EXTERNAL.iter().zip(BACKENDS) {
        let backends = vec![addr(backends[0])];
        all.extend([proto::TCP, proto::UDP].map(|proto| Virtual {
            vip: addr(vip),
            proto,
            backends: backends.clone(),
        }));
    }
    all
}

/// Says which are external, and which addresses the node has.
fn configure(maps: &mut impl Maps) {
    let [v4, v6] = NODE.map(|text| Addr::from(addr(text).ip()));
    maps.put_config(&Config { snat_v4: v4, snat_v6: v6, ..patient() }).unwrap();
    let external = EXTERNAL.map(|text| Addr::from(addr(text).ip()));
    for (key, mut value) in maps.frontends().unwrap() {
        if external.contains(&key.addr) {
            value.flags |= SERVICE_EXTERNAL;
            maps.put_frontend(&key, &value).unwrap();
        }
    }
}

fn host(services: &[Virtual]) -> Site {
    let site = Site::new(services);
    let mut maps = site.tables.maps().clone();
    configure(&mut maps);
    Site { tables: MemoryTables::new(maps), ..site }
}

fn kernel(services: &[Virtual], transmit: bool) -> Kernel {
    let mut kernel = Kernel::new(services, transmit);
    configure(&mut kernel.maps);
    kernel
}

/// The life of a flow that is masqueraded.
fn masqueraded() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (family, name) in [(0, "v4"), (1, "v6")] {
        let [client, vip, node, backend] =
            [OUTSIDE[family], EXTERNAL[family], NODE[family], BACKENDS[family][0]].map(addr);
        let kinds = [
            ("syn", Kind::Syn, Kind::SynAck),
            ("ack", Kind::Ack, Kind::Ack),
            ("fin", Kind::Fin, Kind::Fin),
            ("datagram", Kind::Datagram, Kind::Datagram),
        ];
        for (what, there, back) in kinds {
            all.push((format!("{name} masqueraded {what}"), Frame::new(client, vip, there).bytes()));
            all.push((format!("{name} masqueraded {what} back"), Frame::new(backend, node, back).bytes()));
        }
    }
    all
}

/// The table with what came out: bytes only where some changed.
fn table(balancer: &mut impl Balancer) -> String {
    let mut text = String::new();
    for (name, packet) in fixtures().into_iter().chain(masqueraded()) {
        let (fate, after) = balancer.run(&packet);
        let word = match fate {
            Fate::Dropped => "drop",
            Fate::Passed if after == packet => "pass",
            Fate::Passed => "translate",
            Fate::Sent => "send",
        };
        writeln!(text, "{name}: {word}").unwrap();
        if after != packet && fate != Fate::Dropped {
            let hex =
                |bytes: &[u8]| bytes.iter().take(80).map(|byte| format!("{byte:02x}")).collect::<String>();
            writeln!(text, "  {}\n  {}", hex(&packet), hex(&after)).unwrap();
        }
    }
    text
}

#[test]
fn packets_come_out_as_written_on_the_host() {
    bless(&data::path(GOLDEN), &table(&mut host(&with_external(services(1)))));
}

/// By XDP, and where the way out takes nothing from it, by the program behind it.
#[test]
fn packets_come_out_as_written_in_the_kernel() {
    privileged!();
    let expected = std::fs::read_to_string(data::path(GOLDEN)).unwrap();
    for transmit in [true, false] {
        let mut kernel = kernel(&with_external(services(1)), transmit);
        assert_eq!(table(&mut kernel), expected, "XDP transmits: {transmit}");
        assert_eq!(kernel.early > 0, transmit, "{} packets sent by XDP", kernel.early);
    }
}

/// Services with one backend each, so that no choice is left to chance; two share theirs.
fn forced() -> Vec<Virtual> {
    let mut all = services(1);
    for family in [0, 1] {
        let second = addr(["10.96.0.81:8080", "[fd96::81]:8080"][family]);
        let backends = vec![addr(BACKENDS[family][0])];
        all.extend([proto::TCP, proto::UDP].map(|proto| Virtual {
            vip: second,
            proto,
            backends: backends.clone(),
        }));
    }
    all.push(Virtual { vip: addr("10.96.0.82:8080"), proto: proto::TCP, backends: vec![] });
    with_external(all)
}

/// Packets of a few flows in any order, some of them damaged.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let kinds = [Kind::Syn, Kind::SynAck, Kind::Ack, Kind::Fin, Kind::Rst, Kind::Datagram, Kind::Datagram];
    let ends = [
        ([CLIENT[0], VIP[0]], 4),
        ([CLIENT[0], "10.96.0.81:8080"], 2),
        ([CLIENT[0], "10.96.0.82:8080"], 1),
        ([BACKENDS[0][0], CLIENT[0]], 3),
        ([CLIENT[1], VIP[1]], 4),
        ([CLIENT[1], "[fd96::81]:8080"], 2),
        ([BACKENDS[1][0], CLIENT[1]], 3),
        (["192.0.2.10:40001", VIP[0]], 1),
        ([OUTSIDE[0], EXTERNAL[0]], 4),
        ([BACKENDS[0][0], NODE[0]], 3),
        ([OUTSIDE[1], EXTERNAL[1]], 2),
        ([BACKENDS[1][0], NODE[1]], 2),
    ];
    let ends = ends.into_iter().flat_map(|(ends, weight)| vec![ends.map(addr); weight]).collect::<Vec<_>>();
    let frame = (prop::sample::select(ends), prop::sample::select(kinds.to_vec()), 0usize..3);
    let damage = prop_oneof![
        4 => Just(None),
        1 => (0usize..80, any::<u8>()).prop_map(Some),
    ];
    let cut = prop_oneof![6 => Just(usize::MAX), 1 => 14usize..90];
    (frame, damage, cut).prop_map(|(([src, dst], kind, words), damage, cut)| {
        // Endpoints open no connections from the ports that they serve.
        let opens = kind == Kind::Syn && BACKENDS.iter().flatten().any(|backend| addr(backend) == src);
        let kind = if opens { Kind::SynAck } else { kind };
        let options = if src.is_ipv4() { vec![1; 4 * words] } else { vec![] };
        let mut bytes = Frame { options, ..Frame::new(src, dst, kind) }.bytes();
        if let Some((at, byte)) = damage.filter(|(at, _)| *at < bytes.len()) {
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        bytes
    })
}

/// Flows without what differs from kernel to kernel: the time of their last packet, and their way.
fn timeless(flows: impl IntoIterator<Item = (FlowKey, FlowValue)>) -> BTreeMap<FlowKey, FlowValue> {
    let bare = |value: FlowValue| FlowValue {
        last_seen: 0,
        hop: Hop::default(),
        mtu: 0,
        state: value.state & !FLOW_XDP_HOP,
        ..value
    };
    flows.into_iter().map(|(key, value)| (key, bare(value))).collect()
}

/// The compiled programs do what the host's logic does: the same bytes, actions and flows.
#[test]
fn kernel_and_host_agree_on_packets_at_random() {
    privileged!();
    // Each case loads the programs anew: few cases, of many packets.
    let config = ProptestConfig {
        cases: 8,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let compare = |(packets, transmit): (Vec<Vec<u8>>, bool)| {
        let (mut kernel, mut host) = (kernel(&forced(), transmit), host(&forced()));
        for packet in packets {
            prop_assert_eq!(kernel.run(&packet), host.run(&packet), "{:02x?}", packet);
        }
        let flows = timeless(kernel.maps.flows().unwrap());
        prop_assert_eq!(flows, timeless(host.v4.all().into_iter().chain(host.v6.all())));
        Ok(())
    };
    TestRunner::new(config).run(&(vec(packet(), 200..400), any::<bool>()), compare).unwrap();
}
