//! The processes that ask, and the attempts of a probe as questions to them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::Duration,
};

use seaway_lab::probe::{self as lab, ProbeProcess, Transport};

use super::{
    cases::{Probe, Protocol},
    observation::Observation,
    places::{Place, pooled},
    site::Site,
};

/// How long an answer may take, in milliseconds: on TCP so that one SYN is repeated.
const TCP_TIMEOUT_MS: u64 = 1400;
const TIMEOUT_MS: u64 = 800;
/// The same for one of many datagrams during a change: longer than the pause between two, so that
/// a loaded machine loses none.
const DURING_TIMEOUT_MS: u64 = 250;
/// Bytes of a datagram where a probe does not say.
const SIZE: usize = 200;

/// One process per place and flow, started when it is needed. They end with the run, and with them
/// every socket of it.
#[derive(Debug)]
pub(crate) struct Probers<'s> {
    site: &'s Site,
    idle: BTreeMap<(Place, String), ProbeProcess>,
}

impl<'s> Probers<'s> {
    pub(crate) fn new(site: &'s Site) -> Self {
        Self { site, idle: BTreeMap::new() }
    }

    /// The process with the sockets called `name`.
    pub(crate) fn take(&mut self, place: Place, name: &str) -> ProbeProcess {
        let idle = self.idle.remove(&(place, name.to_owned()));
        idle.unwrap_or_else(|| self.site.prober(place))
    }

    /// Keeps a process with its sockets.
    pub(crate) fn put(&mut self, place: Place, name: &str, process: ProbeProcess) {
        self.idle.insert((place, name.to_owned()), process);
    }

    /// Makes all attempts of a probe.
    pub(crate) fn ask(&mut self, probe: &Probe) -> Observation {
        let mut seen = Observation::default();
        let count = probe.count.unwrap_or(1);
        if count == 2 && probe.flow.is_none() && probe.source_port.is_none() {
            self.ask_both(probe, &mut seen);
            return seen;
        }
        let name = probe.flow.as_deref().unwrap_or_default();
        let mut process = self.take(probe.from, name);
        for attempt in 0..count {
            if attempt > 0
                && let Some(pause) = probe.interval_s
            {
                thread::sleep(Duration::from_secs_f64(pause));
            }
            ask_once(&mut process, probe, attempt, &mut seen);
            if !probe.allows(seen.last_outcome()) {
                // The rest cannot make it match any more, and may have to wait for nothing each.
                break;
            }
        }
        self.put(probe.from, name, process);
        seen
    }

    /// Two attempts at once, as the record has it.
    fn ask_both(&mut self, probe: &Probe, seen: &mut Observation) {
        const NAMES: [&str; 2] = ["", " second"];
        let mut processes = NAMES.map(|name| self.take(probe.from, name));
        let parts = thread::scope(|scope| {
            let ask = |(process, attempt): (_, u32)| {
                scope.spawn(move || {
                    let question = question(probe, attempt);
                    (question.to, attempt, ask_process(process, &question))
                })
            };
            let threads: Vec<_> = processes.iter_mut().zip(0..).map(ask).collect();
            threads.into_iter().map(|thread| thread.join().expect("an attempt")).collect::<Vec<_>>()
        });
        for (to, attempt, outcome) in parts {
            seen.add(&outcome, to, pool_address(probe, attempt));
        }
        for (name, process) in NAMES.into_iter().zip(processes) {
            self.put(probe.from, name, process);
        }
    }
}

/// One attempt of a probe, the one with this number.
pub(crate) fn ask_once(process: &mut ProbeProcess, probe: &Probe, attempt: u32, seen: &mut Observation) {
    let question = question(probe, attempt);
    let outcome = ask_process(process, &question);
    seen.add(&outcome, question.to, pool_address(probe, attempt));
}

fn ask_process(process: &mut ProbeProcess, question: &lab::Probe) -> lab::Outcome {
    process.ask(question).unwrap_or_else(|error| panic!("{error}"))
}

fn question(probe: &Probe, attempt: u32) -> lab::Probe {
    let is_v4 = probe.is_v4();
    let transport = match probe.proto {
        Protocol::Tcp => Transport::Tcp,
        // A kept socket is one that can follow its service: it names its peer with every datagram.
        Protocol::Udp if probe.flow.is_some() || attempt % 2 == 1 => Transport::UdpUnconnected,
        Protocol::Udp => Transport::Udp,
        Protocol::Icmp => Transport::Icmp,
        Protocol::Http => Transport::Http,
    };
    let to = asked(&probe.to).unwrap_or_else(|| panic!("{} is no address to ask", probe.to));
    let any: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let own = pool_address(probe, attempt).or_else(|| probe.from.source(is_v4));
    let from = match (own, probe.source_port) {
        (None, None) => None,
        (own, port) => Some(SocketAddr::new(own.unwrap_or(any), port.unwrap_or(0))),
    };
    let timeout_ms = match (probe.timeout_s, probe.proto) {
        (Some(seconds), _) => milliseconds(seconds),
        (None, _) if probe.during_apply => DURING_TIMEOUT_MS,
        (None, Protocol::Tcp | Protocol::Http) => TCP_TIMEOUT_MS,
        (None, Protocol::Udp | Protocol::Icmp) => TIMEOUT_MS,
    };
    let size = probe.size.unwrap_or(SIZE);
    lab::Probe { transport, to, from, flow: probe.flow.clone(), size, timeout_ms }
}

/// An address and a port, or an address alone, in brackets or not.
fn asked(text: &str) -> Option<SocketAddr> {
    let bare = || text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok();
    text.parse().ok().or_else(|| bare().map(|address| SocketAddr::new(address, 0)))
}

fn pool_address(probe: &Probe, attempt: u32) -> Option<IpAddr> {
    probe.source_pool.then(|| pooled(attempt, probe.is_v4()))
}

fn milliseconds(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_an_address_with_or_without_a_port() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(asked(text), expected.map(|text| text.parse().unwrap()), "{text}");
        };
        check("10.96.0.1:80", Some("10.96.0.1:80"));
        check("10.96.0.1", Some("10.96.0.1:0"));
        check("[fd96::11d]:80", Some("[fd96::11d]:80"));
        check("[fd96::11d]", Some("[fd96::11d]:0"));
        check("fd96::11d", Some("[fd96::11d]:0"));
        check("[fd96::11d", None);
        check("web", None);
    }
}
