//! What a `forward` plugin says.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::block::Scheme;
use crate::name::Zone;
use crate::wire::relay::Relayed;

/// Connections to one upstream that wait for their next query, unless `max_idle_conns` says less.
pub const IDLE_MAX: usize = 64;

/// A `forward` plugin.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// The zone whose names are asked for.
    pub zone: Zone,
    /// Zones below it whose names are not.
    pub except: Vec<Zone>,
    /// Who is asked.
    pub upstreams: Vec<Target>,
    /// In which order.
    pub policy: Policy,
    /// Upstreams are asked over TCP, however the query came.
    pub force_tcp: bool,
    /// Upstreams are asked over UDP first, however the query came.
    pub prefer_udp: bool,
    /// So many failed probes in a row make an upstream count as down; 0 is never.
    pub fails_max: u32,
    /// So many queries at once; others are refused. 0 is no limit.
    pub concurrent_max: usize,
    /// How long one upstream is waited for.
    pub read_timeout: Duration,
    /// How upstreams that failed are probed.
    pub probe: Probe,
    /// Whether queries fail at once while all upstreams are down; else one is tried anyway.
    pub failfast: bool,
    /// How long a connection waits for its next query.
    pub expire: Duration,
    /// So many connections of one upstream wait.
    pub idle_max: usize,
    /// With these response codes the next upstream is asked.
    pub failover: Vec<u16>,
    /// With these response codes the next forwarder is asked.
    pub next: Vec<u16>,
    /// So it is with an answer that has no records.
    pub next_on_nodata: bool,
    /// So many upstreams are asked for one query at most; 0 is no limit.
    pub attempts_max: usize,
    /// How upstreams over TLS prove themselves.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Where an upstream is, and how it is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address and port.
    pub address: SocketAddr,
    /// How it is asked.
    pub scheme: Scheme,
    /// The name that its certificate must have; `None` for one that is asked in the clear.
    pub name: Option<ServerName<'static>>,
    /// Where queries go over HTTPS: a path such as `/dns-query`.
    pub path: Box<str>,
}

/// How an upstream that failed is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How often.
    pub interval: Duration,
    /// Whether recursion is asked for.
    pub recursion: bool,
    /// The zone whose name servers are asked for.
    pub domain: Zone,
}

/// The order in which upstreams are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Beginning with any of them.
    #[default]
    Random,
    /// Beginning with the one after the last.
    RoundRobin,
    /// Always as they are written down.
    Sequential,
}

impl ForwardOptions {
    /// Defaults for a zone and its upstreams; `root` is the zone that probes ask for.
    pub fn new(zone: Zone, upstreams: Vec<Target>, root: Zone) -> Self {
        Self {
            zone,
            except: Vec::new(),
            upstreams,
            policy: Policy::default(),
            force_tcp: false,
            prefer_udp: false,
            fails_max: 2,
            concurrent_max: 0,
            read_timeout: Duration::from_secs(2),
            probe: Probe { interval: Duration::from_millis(500), recursion: true, domain: root },
            failfast: false,
            expire: Duration::from_secs(10),
            idle_max: IDLE_MAX,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            attempts_max: 0,
            tls: None,
        }
    }
}

impl ForwardOptions {
    /// Whether the next forwarder is asked after this answer.
    pub fn passes_on(&self, answer: &Relayed) -> bool {
        self.next.contains(&answer.rcode()) || (self.next_on_nodata && answer.is_nodata())
    }

    /// Whether some answers lead to the next forwarder.
    pub fn has_next(&self) -> bool {
        self.next_on_nodata || !self.next.is_empty()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = (self.scheme.as_str(), &self.path);
        match &self.name {
            None => write!(f, "{}", self.address),
            Some(name) => write!(f, "{scheme}://{}{path} ({})", self.address, name.to_str()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, scheme: Scheme::Dns, name: None, path: Box::default() }
    }
}
