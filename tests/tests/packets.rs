//! A table of packets, with what becomes of each, on the host and in the kernel; and the two
//! compared on packets at random.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use seaway_common::{FLOW_XDP_HOP, FlowKey, FlowValue, Hop, proto};
use seaway_dataplane::feeder::Fate;
use seaway_harness::{bless, privileged};
use seaway_tests::{
    balancer::{Balancer, Kernel},
    data,
    fixtures::fixtures,
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, services},
};

const GOLDEN: &str = "packets.txt";

/// The table with what came out: bytes only where some changed.
fn table(balancer: &mut impl Balancer) -> String {
    let mut text = String::new();
    for (name, packet) in fixtures() {
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
    bless(&data::path(GOLDEN), &table(&mut Site::new(&services(1))));
}

/// By XDP, and where the way out takes nothing from it, by the program behind it.
#[test]
fn packets_come_out_as_written_in_the_kernel() {
    privileged!();
    let expected = std::fs::read_to_string(data::path(GOLDEN)).unwrap();
    for transmit in [true, false] {
        let mut kernel = Kernel::new(&services(1), transmit);
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
    all
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
    ];
    let ends = ends.into_iter().flat_map(|(ends, weight)| vec![ends.map(addr); weight]).collect::<Vec<_>>();
    let frame = (prop::sample::select(ends), prop::sample::select(kinds.to_vec()), 0usize..3);
    let damage = prop_oneof![
        4 => Just(None),
        1 => (0usize..80, any::<u8>()).prop_map(Some),
    ];
    let cut = prop_oneof![6 => Just(usize::MAX), 1 => 14usize..90];
    (frame, damage, cut).prop_map(|(([src, dst], kind, words), damage, cut)| {
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
        let (mut kernel, mut host) = (Kernel::new(&forced(), transmit), Site::new(&forced()));
        for packet in packets {
            prop_assert_eq!(kernel.run(&packet), host.run(&packet), "{:02x?}", packet);
        }
        let flows = timeless(kernel.maps.flows().unwrap());
        prop_assert_eq!(flows, timeless(host.v4.all().into_iter().chain(host.v6.all())));
        Ok(())
    };
    TestRunner::new(config).run(&(vec(packet(), 200..400), any::<bool>()), compare).unwrap();
}
