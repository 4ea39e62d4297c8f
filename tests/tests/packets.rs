//! A table of packets, with what becomes of each, on the host and in the kernel; and the two
//! compared on packets at random.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use seaway_common::{Action, FlowKey, FlowValue, proto};
use seaway_dataplane::{feeder, kernel_maps::KernelMaps, probe::Probe, programs::Programs};
use seaway_harness::{MemoryMaps, bless, privileged};
use seaway_tests::{
    fixtures::fixtures,
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, install, services},
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/packets.txt");

/// `enum xdp_action`.
const DROP: u32 = 1;
const PASS: u32 = 2;

/// What becomes of a packet: the action, and the packet afterwards.
trait Balancer {
    fn run(&mut self, packet: &[u8]) -> (u32, Vec<u8>);
}

/// The programs in the kernel, with user space's side of the maps.
struct Kernel {
    programs: Programs,
    maps: KernelMaps,
}

impl Kernel {
    fn new(services: &[Virtual]) -> Self {
        let programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
        let mut maps = programs.maps().unwrap();
        install(&mut maps, services);
        Self { programs, maps }
    }
}

impl Balancer for Kernel {
    fn run(&mut self, packet: &[u8]) -> (u32, Vec<u8>) {
        let outcome = feeder::run_once(&mut self.programs, packet).unwrap();
        (outcome.action, outcome.packet)
    }
}

impl Balancer for Site {
    fn run(&mut self, packet: &[u8]) -> (u32, Vec<u8>) {
        let mut packet = packet.to_vec();
        let drops = self.send(&mut packet).is_err_and(|reason| reason.action() != Action::Pass);
        (if drops { DROP } else { PASS }, packet)
    }
}

/// The table with what came out: bytes only where some changed.
fn table(balancer: &mut impl Balancer) -> String {
    let mut text = String::new();
    for (name, packet) in fixtures() {
        let (action, after) = balancer.run(&packet);
        let action = match action {
            DROP => "drop",
            PASS if after == packet => "pass",
            PASS => "translate",
            _ => "?",
        };
        writeln!(text, "{name}: {action}").unwrap();
        if after != packet {
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

#[test]
fn packets_come_out_as_written_in_the_kernel() {
    privileged!();
    let expected = std::fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(table(&mut Kernel::new(&services(1))), expected);
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

/// Flows without the time of their last packet.
fn timeless(flows: impl IntoIterator<Item = (FlowKey, FlowValue)>) -> BTreeMap<FlowKey, FlowValue> {
    flows.into_iter().map(|(key, value)| (key, FlowValue { last_seen: 0, ..value })).collect()
}

/// The compiled programs do what the host's logic does: the same bytes, actions and flows.
#[test]
fn kernel_and_host_agree_on_packets_at_random() {
    privileged!();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let compare = |packets: Vec<Vec<u8>>| {
        let (mut kernel, mut host) = (Kernel::new(&forced()), Site::new(&forced()));
        for packet in packets {
            prop_assert_eq!(kernel.run(&packet), host.run(&packet), "{:02x?}", packet);
        }
        let flows = timeless(kernel.maps.flows().unwrap());
        prop_assert_eq!(flows, timeless(host.v4.all().into_iter().chain(host.v6.all())));
        Ok(())
    };
    TestRunner::new(config).run(&vec(packet(), 1..80), compare).unwrap();
}
