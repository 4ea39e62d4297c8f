//! Flow entries that go for others while a map is full are counted, and no others.

#![forbid(unsafe_code)]

use std::{collections::BTreeSet, time::Instant};

use seaway_common::{Capacities, Config};
use seaway_dataplane::{collector::Ticks, feeder::Fate};
use seaway_harness::{MemoryMaps, privileged};
use seaway_tests::{
    balancer::{Balancer, Kernel},
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, VIP, addr, services},
};

const FLOWS: u16 = 400;
/// Ticks a second; any number does where no time passes.
const TICKS_PER_S: u32 = 100;

/// The first packets of flows from as many ports, through maps of `most` entries.
fn kernel(family: usize, most: u32) -> Kernel {
    let capacities = Capacities { flows_v4: most, flows_v6: most, ..MemoryMaps::CAPACITIES };
    let mut kernel = Kernel::of(&services(1), true, &capacities);
    for flow in 0..FLOWS {
        let packet = frame(family, flow, Kind::Syn).bytes();
        let (fate, after) = kernel.run(&packet);
        assert!(fate != Fate::Dropped && after != packet, "{flow}: {fate:?}");
    }
    kernel
}

fn frame(family: usize, flow: u16, kind: Kind) -> Frame {
    let client = (addr(CLIENT[family]).ip(), 2000 + flow).into();
    Frame::new(client, addr(VIP[family]), kind)
}

/// Entries that there are, and how many were evicted.
fn look(kernel: &Kernel) -> (u64, u64) {
    let mut met = BTreeSet::new();
    let evicted = kernel.maps.each_flow_and_evictions(|key, _| assert!(met.insert(key))).unwrap();
    (met.len() as u64, evicted)
}

#[test]
fn entries_that_went_for_others_are_counted() {
    privileged!();
    for family in [0, 1] {
        let (met, evicted) = look(&kernel(family, 256));
        assert_eq!(met + evicted, 2 * u64::from(FLOWS), "family {family}: {met} are there");
        assert!((1..=256).contains(&met) && evicted > 0, "family {family}: {met} are there");
    }
}

#[test]
fn entries_that_were_taken_away_are_not() {
    privileged!();
    for family in [0, 1] {
        let mut kernel = kernel(family, 65_536);
        assert_eq!(look(&kernel), (2 * u64::from(FLOWS), 0));
        // The same flows once more; a reset takes both entries of a flow away, with the first packet of
        // a new one after it.
        let backend = addr(BACKENDS[family][0]);
        for flow in 0..FLOWS / 2 {
            for kind in [Kind::Syn, Kind::Rst, Kind::Rst] {
                kernel.run(&frame(family, flow, kind).bytes());
            }
            kernel.run(&frame(family, flow, Kind::Syn).to(backend).reply(Kind::SynAck).bytes());
        }
        let (met, evicted) = look(&kernel);
        assert_eq!(evicted, 0, "family {family}: {met} are there");
        assert!(met < 2 * u64::from(FLOWS), "family {family}: a reset takes no entry away");
        // Idle for longer than any timeout, by the agent's clock.
        let mut ticks = Ticks::new(TICKS_PER_S, Instant::now());
        ticks.note(u64::MAX / 2, Instant::now());
        let gone = kernel.maps.expire_flows(&Config::new(), &mut ticks).unwrap();
        assert_eq!((gone as u64, look(&kernel)), (met, (0, 0)), "family {family}");
    }
}
