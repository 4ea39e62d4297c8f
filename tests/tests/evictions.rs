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

/// More than the smallest map of half-open flows holds, of which there are two entries each.
const FLOWS: u16 = 1500;
/// What the smallest map of half-open flows holds.
const HALF_OPEN_MIN: u64 = 1024;
/// Ticks a second; any number does where no time passes.
const TICKS_PER_S: u32 = 100;

/// The first packets of flows from as many ports, where maps of `most` entries hold the established ones.
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
        assert!((1..=HALF_OPEN_MIN).contains(&met) && evicted > 0, "family {family}: {met} are there");
    }
}

#[test]
fn entries_that_were_taken_away_are_not() {
    privileged!();
    for family in [0, 1] {
        let mut kernel = kernel(family, 65_536);
        assert_eq!(look(&kernel), (2 * u64::from(FLOWS), 0));
        // The same flows once more. A reset ends a flow, and the answer to somebody who went to the
        // backend without us takes both of its entries away.
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

/// A flood of first packets, answered ones among them, pushes out others of its kind alone.
#[test]
fn flood_of_syns_leaves_established_flows_in_place() {
    privileged!();
    const ESTABLISHED: u16 = 100;
    for family in [0, 1] {
        let capacities = Capacities { flows_v4: 2048, flows_v6: 2048, ..MemoryMaps::CAPACITIES };
        let mut kernel = Kernel::of(&services(1), true, &capacities);
        let backend = addr(BACKENDS[family][0]);
        let passes = |kernel: &mut Kernel, packet: &Frame| {
            let (fate, after) = kernel.run(&packet.bytes());
            assert!(fate == Fate::Passed && after != packet.bytes(), "{packet:?}: {fate:?}");
        };
        for flow in 0..ESTABLISHED {
            passes(&mut kernel, &frame(family, flow, Kind::Syn));
            passes(&mut kernel, &frame(family, flow, Kind::Syn).to(backend).reply(Kind::SynAck));
            passes(&mut kernel, &frame(family, flow, Kind::Ack));
        }
        for flow in 0..8000 {
            let syn = frame(family, 10_000 + flow, Kind::Syn);
            passes(&mut kernel, &syn);
            if flow % 2 == 0 {
                passes(&mut kernel, &syn.to(backend).reply(Kind::SynAck));
            }
        }
        for flow in 0..ESTABLISHED {
            passes(&mut kernel, &frame(family, flow, Kind::Ack).to(backend).reply(Kind::Ack));
            passes(&mut kernel, &frame(family, flow, Kind::Ack));
        }
        let (_, evicted) = look(&kernel);
        assert!(evicted > 0, "family {family}: the flood filled nothing");
    }
}
