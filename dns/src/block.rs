//! Server blocks: the plugins that a group of zones goes through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheOptions;
use crate::forward::ForwardOptions;
use crate::name::Zone;
use crate::options::Options;

/// What one server block of a Corefile says.
#[derive(Clone, Debug)]
pub struct Block {
    /// The zones that it is asked for.
    pub zones: Vec<Zone>,
    /// The port it listens on.
    pub port: u16,
    /// The addresses it listens on; empty means all.
    pub bind: Vec<IpAddr>,
    /// Failed queries are logged.
    pub errors: bool,
    /// Every query is logged.
    pub log: bool,
    /// Where liveness is told, and how long the server goes on after it was asked to stop.
    pub health: Option<Health>,
    /// Where readiness is told.
    pub ready: Option<SocketAddr>,
    /// Where metrics are told.
    pub prometheus: Option<SocketAddr>,
    /// The Corefile is read again when it changes.
    pub reload: bool,
    /// The server probes whether its queries come back to it.
    pub detect_loop: bool,
    /// Addresses of a name take turns in coming first.
    pub loadbalance: bool,
    /// The largest answer over UDP, whatever the client takes.
    pub bufsize: u16,
    /// Answers from elsewhere are kept.
    pub cache: Option<CacheOptions>,
    /// The names of the cluster.
    pub kubernetes: Option<Arc<Options>>,
    /// Who is asked for everything else.
    pub forward: Vec<ForwardOptions>,
}

/// The `health` plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long queries are answered after the server was asked to stop.
    pub lameduck: Duration,
}

impl Block {
    /// Notes the addresses that the block is reached at: they tell the zone's name servers.
    pub fn reached_at(&mut self, addresses: &[IpAddr]) {
        if let Some(options) = &mut self.kubernetes {
            Arc::make_mut(options).local_ips = addresses.to_vec();
        }
    }

    /// A block without plugins.
    pub fn new(zones: Vec<Zone>, port: u16) -> Self {
        Self {
            zones,
            port,
            bind: Vec::new(),
            errors: false,
            log: false,
            health: None,
            ready: None,
            prometheus: None,
            reload: false,
            detect_loop: false,
            loadbalance: false,
            // Nobody caps what a client says unless told to.
            bufsize: u16::MAX,
            cache: None,
            kubernetes: None,
            forward: Vec::new(),
        }
    }
}
