//! Services written straight into the maps, and packets sent to them.

use std::net::SocketAddr;

use seaway_common::{
    Action, BACKEND_SERVING, BackendValue, Be16, Config, Reason, ServiceKey, ServiceValue, Slice, proto,
};
use seaway_dataplane::Maps;
use seaway_ebpf::{Stage, Verdict, translate, vouch_for_address};
use seaway_harness::{MemoryFlows, MemoryMaps, MemoryPacket, MemoryTables};

use crate::frame::{Frame, Kind};

/// A service and where it leads.
#[derive(Clone, Debug)]
pub struct Virtual {
    /// Its address.
    pub vip: SocketAddr,
    /// Transport protocol number.
    pub proto: u8,
    /// Its backends.
    pub backends: Vec<SocketAddr>,
}

/// Services in memory, and the flows to them.
#[derive(Debug)]
pub struct Site {
    /// Services, counters, clock and random numbers.
    pub tables: MemoryTables,
    /// Flows over IPv4.
    pub v4: MemoryFlows,
    /// Flows over IPv6.
    pub v6: MemoryFlows,
}

/// Service addresses of the tests.
pub const VIP: [&str; 2] = ["10.96.0.80:8080", "[fd96::80]:8080"];
/// A client outside of the node.
pub const CLIENT: [&str; 2] = ["192.0.2.10:40000", "[2001:db8::10]:40000"];
/// Three backends a family.
pub const BACKENDS: [[&str; 3]; 2] = [
    ["10.1.1.111:80", "10.1.1.112:80", "10.1.1.114:80"],
    ["[fd77:1::11]:80", "[fd77:1::12]:80", "[fd77:1::14]:80"],
];

/// An address and port from its text.
///
/// # Panics
/// When it is none.
pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The service key of an address.
pub fn key_of(vip: SocketAddr, proto: u8) -> ServiceKey {
    ServiceKey { addr: vip.ip().into(), port: Be16::new(vip.port()), proto, ..ServiceKey::default() }
}

/// TCP and UDP at both addresses of [`VIP`], each with its first `backends` of [`BACKENDS`]: the
/// services 0 to 3.
pub fn services(backends: usize) -> Vec<Virtual> {
    let both = VIP.iter().zip(&BACKENDS);
    both.flat_map(|(vip, all)| {
        let backends: Vec<_> = all[..backends].iter().map(|text| addr(text)).collect();
        [proto::TCP, proto::UDP].map(|proto| Virtual { vip: addr(vip), proto, backends: backends.clone() })
    })
    .collect()
}

/// Nothing known, and timeouts of a day: the kernel's clock is the real one, and on a slow machine a flow that
/// closes could be forgotten between two packets of a test.
pub fn patient() -> Config {
    const DAY_S: u32 = 24 * 3600;
    Config {
        tcp_opening_s: DAY_S,
        tcp_established_s: DAY_S,
        tcp_closing_s: DAY_S,
        tcp_close_wait_s: DAY_S,
        tcp_time_wait_s: DAY_S,
        udp_s: DAY_S,
        udp_assured_s: DAY_S,
        ..Config::new()
    }
}

/// Writes services into empty maps. Service ids are indexes; backend ids count from 1, over all.
///
/// # Panics
/// When a map refuses.
pub fn install(maps: &mut impl Maps, services: &[Virtual]) {
    maps.put_config(&patient()).expect("a configuration");
    let mut id = 1;
    let mut offset = 0;
    for (service, Virtual { vip, proto, backends }) in (0u32..).zip(services) {
        let first = id;
        for backend in backends {
            let value = BackendValue {
                addr: backend.ip().into(),
                port: Be16::new(backend.port()),
                proto: *proto,
                flags: BACKEND_SERVING,
                service,
            };
            maps.put_backend(id, &value).expect("room for a backend");
            id += 1;
        }
        let ids: Vec<u32> = (first..id).collect();
        maps.put_slots(offset, &ids).expect("room for slots");
        let cluster = Slice { offset, len: id - first };
        let value = ServiceValue { service, cluster, generation: service + 1, ..ServiceValue::default() };
        maps.put_frontend(&key_of(*vip, *proto), &value).expect("room for a frontend");
        offset += cluster.len.next_multiple_of(2);
    }
}

impl Site {
    /// A site with these services.
    pub fn new(services: &[Virtual]) -> Self {
        let mut maps = MemoryMaps::default();
        install(&mut maps, services);
        Self { tables: MemoryTables::new(maps), v4: MemoryFlows::default(), v6: MemoryFlows::default() }
    }

    /// Sends a packet to the node, which is changed in place. It meets the program at the ingress of the
    /// interface that it comes by, and if the stack gets it, the one at the egress of that which it leaves by.
    ///
    /// # Errors
    /// Why it was not translated.
    ///
    /// # Panics
    /// When the egress takes a packet that the ingress translated for one that nobody translated.
    pub fn send(&self, bytes: &mut Vec<u8>) -> Result<Verdict, Reason> {
        let mut packet = MemoryPacket::new(std::mem::take(bytes));
        let arriving = self.pass_by(&mut packet, Stage::Ingress);
        let result = match arriving {
            Ok(Verdict::Translated) => {
                let translated = packet.clone();
                let leaving = self.pass_by(&mut packet, Stage::Egress);
                assert_eq!((leaving, &packet.bytes), (Ok(Verdict::NotOurs), &translated.bytes));
                arriving
            }
            Ok(Verdict::NotOurs) => self.pass_by(&mut packet, Stage::Egress),
            Err(reason) if reason.action() == Action::Pass => {
                let leaving = self.pass_by(&mut packet, Stage::Egress);
                if leaving == Ok(Verdict::NotOurs) { arriving } else { leaving }
            }
            other => other,
        };
        *bytes = packet.bytes;
        result
    }

    /// Runs the program of one place.
    ///
    /// # Errors
    /// Why the packet was not translated.
    pub fn pass_by(&self, packet: &mut MemoryPacket, stage: Stage) -> Result<Verdict, Reason> {
        if stage == Stage::Egress && vouch_for_address(packet, &self.tables) == Ok(true) {
            return Ok(Verdict::Arrive(1));
        }
        translate(packet, &self.tables, &self.v4, &self.v6, stage)
    }

    /// Sends a frame and checks that it becomes `expected`, checksums included, on its way through the
    /// node's stack.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn check(&self, frame: &Frame, expected: &Frame) {
        let mut packet = frame.bytes();
        assert_eq!(self.send(&mut packet), Ok(Verdict::Translated), "{frame:?}");
        assert_eq!(packet, expected.bytes(), "{frame:?} did not become {expected:?}");
    }

    /// Sends a frame and checks that it is transmitted as `expected`, with one hop less to live and by
    /// the only interface of packets in memory.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn check_sent(&self, frame: &Frame, expected: &Frame) {
        let mut packet = frame.bytes();
        assert_eq!(self.send(&mut packet), Ok(Verdict::Transmit(1)), "{frame:?}");
        assert_eq!(packet, expected.forwarded().bytes(), "{frame:?} did not become {expected:?}");
    }

    /// Sends bytes and checks that none changes.
    ///
    /// # Panics
    /// When one does, or something else comes out than `expected`.
    #[track_caller]
    pub fn check_untouched(&self, bytes: &[u8], expected: Result<Verdict, Reason>) {
        let mut packet = bytes.to_vec();
        assert_eq!(self.send(&mut packet), expected, "{bytes:02x?}");
        assert_eq!(packet, bytes);
    }

    /// Number of flow entries of both families.
    pub fn flows(&self) -> usize {
        self.v4.all().len() + self.v6.all().len()
    }
}

/// A client's first packet of every kind that [`services`] serve, with the address of each one's
/// first backend and its service id.
pub fn openings() -> Vec<(Frame, SocketAddr, u32)> {
    let families = CLIENT.iter().zip(VIP).zip(BACKENDS);
    let frames = families.flat_map(|((client, vip), backends)| {
        [Kind::Syn, Kind::Datagram].map(|kind| (Frame::new(addr(client), addr(vip), kind), addr(backends[0])))
    });
    frames.zip(0..).map(|((frame, backend), service)| (frame, backend, service)).collect()
}
