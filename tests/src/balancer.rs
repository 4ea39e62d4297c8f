//! What becomes of a packet at a node: by the logic on the host, and by the programs in the kernel.

use seaway_common::{Action, Capacities};
use seaway_dataplane::{
    feeder::{self, Fate},
    kernel_maps::KernelMaps,
    probe::Probe,
    programs::Programs,
};
use seaway_ebpf::{Answer, Stage, Verdict, answer};
use seaway_harness::{MemoryMaps, WayOut};

use crate::site::{Site, Virtual, install};

/// What becomes of a packet: where it goes, and its bytes afterwards.
pub trait Balancer {
    /// Sends a packet in by an interface.
    fn run(&mut self, packet: &[u8]) -> (Fate, Vec<u8>);
}

/// The programs in the kernel, with user space's side of the maps.
pub struct Kernel {
    programs: Programs,
    /// User space's side of the maps.
    pub maps: KernelMaps,
    way_out: WayOut,
    /// Packets that XDP sent on by itself.
    pub early: usize,
}

impl Kernel {
    /// `transmit`: whether the way out takes packets from XDP; the network stack sends them else.
    ///
    /// # Panics
    /// When the kernel refuses something.
    pub fn new(services: &[Virtual], transmit: bool) -> Self {
        Self::of(services, transmit, &MemoryMaps::CAPACITIES)
    }

    /// The same with maps of these sizes.
    ///
    /// # Panics
    /// When the kernel refuses something.
    pub fn of(services: &[Virtual], transmit: bool, capacities: &Capacities) -> Self {
        let programs = Programs::load(&Probe::run().unwrap(), capacities, None).unwrap();
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
        let answered =
            |packet: &mut Vec<u8>, what, mtu| match answer(packet, &self.tables, what, mtu, Stage::Ingress) {
                Ok(()) => Fate::Sent,
                Err(_) => Fate::Dropped,
            };
        let fate = match self.send(&mut packet) {
            Ok(Verdict::NotOurs | Verdict::Translated) => Fate::Passed,
            Ok(Verdict::Transmit(_) | Verdict::Resolve(_) | Verdict::Arrive(_)) => Fate::Sent,
            // Sent in again once the datagram's first fragment has come.
            Ok(Verdict::Hold | Verdict::Release) => Fate::Dropped,
            Ok(Verdict::TooBig(mtu)) => answered(&mut packet, Answer::TooBig, mtu),
            Ok(Verdict::Echo) => answered(&mut packet, Answer::Echo, 0),
            Ok(Verdict::Expired) => answered(&mut packet, Answer::TimeExceeded, 0),
            Err(reason) => match reason.action() {
                Action::Pass => Fate::Passed,
                Action::Drop => Fate::Dropped,
                Action::Refuse => answered(&mut packet, Answer::Refused, 0),
            },
        };
        (fate, packet)
    }
}
