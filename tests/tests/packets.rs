//! A table of packets, with what becomes of each, on the host and in the kernel; and the two
//! compared on packets at random.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use seaway_common::{Action, FLOW_XDP_HOP, FlowKey, FlowValue, Hop, proto};
use seaway_dataplane::{
    feeder::{self, Fate},
    kernel_maps::KernelMaps,
    probe::Probe,
    programs::Programs,
};
use seaway_ebpf::{Answer, Verdict, answer};
use seaway_harness::{MemoryMaps, WayOut, bless, privileged};
use seaway_tests::{
    fixtures::fixtures,
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, install, services},
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/packets.txt");

/// What becomes of a packet: where it goes, and its bytes afterwards.
trait Balancer {
    fn run(&mut self, packet: &[u8]) -> (Fate, Vec<u8>);
}

/// The programs in the kernel, with user space's side of the maps.
struct Kernel {
    programs: Programs,
    maps: KernelMaps,
    way_out: WayOut,
    /// Packets that XDP sent on by itself.
    early: usize,
}

impl Kernel {
    /// `transmit`: whether the way out takes packets from XDP; the network stack sends them else.
    fn new(services: &[Virtual], transmit: bool) -> Self {
        let programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
        let mut maps = programs.maps().unwrap();
        install(&mut maps, services);
        let way_out = WayOut::new().unwrap();
        let left_out = programs.devices().unwrap().follow(&way_out.links(transmit).unwrap()).unwrap();
        assert_eq!(left_out, 0);
        Self { programs, maps, way_out, early: 0 }
    }
}

impl Balancer for Kernel {
    fn run(&mut self, packet: &[u8]) -> (Fate, Vec<u8>) {
        let Self { programs, way_out, .. } = self;
        let outcome = way_out.namespace.run(|| feeder::run_once(programs, packet)).unwrap().unwrap();
        self.early += usize::from(outcome.early && outcome.fate == Fate::Sent);
        (outcome.fate, outcome.packet)
    }
}

impl Balancer for Site {
    fn run(&mut self, packet: &[u8]) -> (Fate, Vec<u8>) {
        let mut packet = packet.to_vec();
        let answered = |packet: &mut Vec<u8>, what, mtu| match answer(packet, what, mtu) {
            Ok(()) => Fate::Sent,
            Err(_) => Fate::Dropped,
        };
        let fate = match self.send(&mut packet) {
            Ok(Verdict::NotOurs | Verdict::Translated) => Fate::Passed,
            Ok(Verdict::Transmit(_) | Verdict::Resolve(_)) => Fate::Sent,
            Ok(Verdict::TooBig(mtu)) => answered(&mut packet, Answer::TooBig, mtu),
            Ok(Verdict::Echo) => answered(&mut packet, Answer::Echo, 0),
            Err(reason) => match reason.action() {
                Action::Pass => Fate::Passed,
                Action::Drop => Fate::Dropped,
                Action::Refuse => answered(&mut packet, Answer::Refused, 0),
            },
        };
        (fate, packet)
    }
}

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
    bless(Path::new(GOLDEN), &table(&mut Site::new(&services(1))));
}

/// By XDP, and where the way out takes nothing from it, by the program behind it.
#[test]
fn packets_come_out_as_written_in_the_kernel() {
    privileged!();
    let expected = std::fs::read_to_string(GOLDEN).unwrap();
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
