//! Server blocks: the plugins that a group of zones goes through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheOptions;
use crate::forward::ForwardOptions;
use crate::name::Zone;
use crate::options::Options;
use crate::plugin::acl::Acl;
use crate::plugin::autopath::Autopath;
use crate::plugin::external::External;
use crate::plugin::hosts::Hosts;
use crate::plugin::rewrite::Rule;
use crate::plugin::template::Template;
use crate::plugin::transfer::Transfer;
use crate::wire::writer::Form;
use crate::zonefile::ZoneFile;

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
    /// Who may ask for what; every line that is about a name has to allow it.
    pub acl: Vec<Acl>,
    /// What is looked up as something else.
    pub rewrite: Vec<Rule>,
    /// The search that is done for clients.
    pub autopath: Option<Autopath>,
    /// Answers hold nothing but what was asked for.
    pub minimal: bool,
    /// Answers made from names.
    pub template: Vec<Template>,
    /// Who may have whole zones.
    pub transfer: Vec<Transfer>,
    /// Names from files like `/etc/hosts`.
    pub hosts: Option<Arc<Hosts>>,
    /// Names for those outside of the cluster.
    pub external: Option<External>,
    /// Zones from files.
    pub files: Vec<Arc<ZoneFile>>,
    /// Who asks is told where from.
    pub whoami: bool,
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
        if let Some(external) = &mut self.external {
            external.addresses = addresses.iter().copied().filter(|address| !address.is_loopback()).collect();
        }
    }

    /// The form that it gives its answers.
    pub fn form(&self) -> Form {
        Form { cap: self.bufsize, minimal: self.minimal }
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
            acl: Vec::new(),
            rewrite: Vec::new(),
            autopath: None,
            minimal: false,
            template: Vec::new(),
            transfer: Vec::new(),
            hosts: None,
            external: None,
            files: Vec::new(),
            whoami: false,
        }
    }
}
