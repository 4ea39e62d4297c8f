//! What is counted for backends, by the programs in the kernel.

#![forbid(unsafe_code)]

use std::{fs, net::IpAddr, path::PathBuf, process};

use etherparse::PacketBuilder;
use seaway_common::{
    Addr, BACKEND_SERVING, BackendCounters, BackendValue, Be16, COUNTER_CELLS, Capacities, Config,
    SLOTS_PER_VALUE, ServiceKey, ServiceValue, Slice, proto,
};
use seaway_dataplane::{Maps, counters::Counters, feeder, probe::Probe, programs::Programs};
use seaway_harness::privileged;
use seaway_lab::{Namespace, bpffs};

struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Two services of one backend each, with these ids.
fn install(programs: &Programs, ids: [u32; 2]) {
    let mut maps = programs.maps().unwrap();
    maps.put_config(&Config::new()).unwrap();
    for (service, id) in (0u32..).zip(ids) {
        let addr: IpAddr = format!("10.77.0.{}", service + 1).parse().unwrap();
        let (addr, port) = (addr.into(), Be16::new(8080));
        maps.put_backend(
            id,
            &BackendValue { addr, port, proto: proto::UDP, flags: BACKEND_SERVING, service },
        )
        .unwrap();
        let cluster = Slice { offset: service * SLOTS_PER_VALUE, len: 1 };
        maps.put_slots(cluster.offset, &[id]).unwrap();
        let vip: IpAddr = vip(service).into();
        let key = ServiceKey {
            addr: Addr::from(vip),
            port: Be16::new(53),
            proto: proto::UDP,
            ..ServiceKey::default()
        };
        maps.put_frontend(&key, &ServiceValue { service, cluster, ..ServiceValue::default() }).unwrap();
    }
}

fn vip(service: u32) -> [u8; 4] {
    [10, 96, 0, 1 + u8::try_from(service).unwrap()]
}

fn datagram(service: u32, payload: usize) -> Vec<u8> {
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
        [192, 0, 2, 1],
        vip(service),
        64,
    );
    let mut packet = Vec::new();
    ip.udp(1024, 53).write(&mut packet, &vec![0; payload]).unwrap();
    packet
}

/// Packets of two backends in turn are all counted, with their bytes.
fn check(ids: [u32; 2]) {
    privileged!();
    let pins = Pins(bpffs().join(format!("seaway-test-counters-{}-{}", process::id(), ids[1])));
    fs::create_dir(&pins.0).unwrap();
    let capacities = Capacities { backends: 2 * COUNTER_CELLS, ..seaway_harness::MemoryMaps::CAPACITIES };
    let mut programs = Programs::load(&Probe::run().unwrap(), &capacities, Some(&pins.0)).unwrap();
    install(&programs, ids);
    let namespace = Namespace::new("counters").unwrap();
    let mut expected = [BackendCounters::default(); 2];
    for number in 0..50usize {
        let service = number % 3 / 2;
        let packet = datagram(u32::try_from(service).unwrap(), number);
        expected[service].packets += 1;
        expected[service].bytes += packet.len() as u64;
        namespace.run(|| feeder::run_once(&mut programs, &packet)).unwrap().unwrap();
        let counters = Counters::open(&pins.0).unwrap();
        assert_eq!(ids.map(|id| counters.backend(id).unwrap()), expected, "after {number}");
    }
}

#[test]
fn backends_with_cells_of_their_own_are_counted() {
    check([1, 2]);
}

#[test]
fn backends_that_share_a_cell_are_counted() {
    check([1, 1 + COUNTER_CELLS]);
}
