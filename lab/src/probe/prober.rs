//! Asks echo servers from the calling thread.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

use super::{Outcome, Probe, Transport, flow::Flow, once};

/// Asks in the calling thread, so in its namespace and cgroup, and keeps the named flows.
#[derive(Debug, Default)]
pub struct Prober {
    flows: BTreeMap<String, Flow>,
}

impl Prober {
    /// Asks once.
    pub fn ask(&mut self, probe: &Probe) -> Outcome {
        self.try_ask(probe).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::Timeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::Unreachable,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Outcome::Reset,
            _ => Outcome::Failed(error.to_string()),
        })
    }

    fn try_ask(&mut self, probe: &Probe) -> io::Result<Outcome> {
        match probe.transport {
            Transport::Icmp => return once::ping(probe),
            Transport::Exchange => return once::exchange(probe),
            Transport::Http => return once::get(probe),
            Transport::UdpConnect => return once::connect_udp(probe),
            Transport::Segments => return once::send_segments(probe),
            Transport::FastOpen => return once::open_fast(probe),
            Transport::Tcp | Transport::Mptcp | Transport::Udp | Transport::UdpUnconnected => {}
        }
        let Some(name) = &probe.flow else { return Flow::open(probe)?.ask(probe, true) };
        match self.flows.entry(name.clone()) {
            Entry::Occupied(mut open) => open.get_mut().ask(probe, false),
            Entry::Vacant(free) => free.insert(Flow::open(probe)?).ask(probe, true),
        }
    }
}
