//! Server blocks: the plugins that a group of zones goes through.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::CacheOptions;
use crate::compat;
use crate::forward::ForwardOptions;
use crate::name::Zone;
use crate::options::Options;
use crate::plugin::acl::Acl;
use crate::plugin::autopath::Autopath;
use crate::plugin::errors::Errors;
use crate::plugin::external::External;
use crate::plugin::hosts::Hosts;
use crate::plugin::log::Log;
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
    /// How it is asked.
    pub scheme: Scheme,
    /// The port it listens on.
    pub port: u16,
    /// Its certificate, where it is asked over something encrypted.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The addresses it listens on; empty means all.
    pub bind: Vec<IpAddr>,
    /// Failed queries are logged.
    pub errors: Option<Errors>,
    /// Queries that are logged; the first that is for a name counts.
    pub log: Vec<Log>,
    /// Where liveness is told, and how long the server goes on after it was asked to stop.
    pub health: Option<Health>,
    /// Where readiness is told.
    pub ready: Option<Ready>,
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
    /// Which parts of its messages are CoreDNS's where ours differ.
    pub compat: compat::Messages,
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
    /// The names of its plugins.
    pub plugins: Vec<String>,
    /// Stands for the text it was read from; `None` where there was none.
    pub digest: Option<u64>,
    /// The files that were read for it, and folders that it takes files from: once one has another content,
    /// it is to be read anew.
    pub watched: Vec<PathBuf>,
}

/// How queries come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Over UDP and TCP.
    #[default]
    Dns,
    /// Over TLS (RFC 7858).
    Tls,
    /// Over HTTPS (RFC 8484).
    Https,
    /// Over QUIC (RFC 9250).
    Quic,
}

/// By what blocks are chosen, besides names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// How queries come.
    pub scheme: Scheme,
    /// The port they come to.
    pub port: u16,
}

/// The `health` plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long queries are answered after the server was asked to stop.
    pub lameduck: Duration,
}

/// The `ready` plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// What has been ready once counts as ready until the server is asked to stop, as in CoreDNS.
    pub once: bool,
}

impl From<u16> for Place {
    fn from(port: u16) -> Self {
        Self { scheme: Scheme::Dns, port }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme.over())?;
        write!(f, "port {}", self.port)
    }
}

impl Scheme {
    /// As it stands in front of a zone in a Corefile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }

    /// What the client and the server call it in the handshake of TLS.
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Dns => &[],
            Self::Tls => &[b"dot"],
            Self::Https => &[b"h2", b"http/1.1"],
            Self::Quic => &[b"doq"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }

    fn over(self) -> &'static str {
        match self {
            Self::Dns => "",
            Self::Tls => "TLS ",
            Self::Https => "HTTPS ",
            Self::Quic => "QUIC ",
        }
    }
}

impl Block {
    /// By what it is chosen, besides names.
    pub fn place(&self) -> Place {
        Place { scheme: self.scheme, port: self.port }
    }

    /// What it is called in metrics: its listener, and its first zone.
    pub(crate) fn labels(&self) -> (String, String) {
        let server = format!("{}://:{}", self.scheme.as_str(), self.port);
        (server, self.zones.first().map(ToString::to_string).unwrap_or_default())
    }

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
        Form { cap: self.bufsize, minimal: self.minimal, compat: self.compat }
    }

    /// A block without plugins.
    pub fn new(zones: Vec<Zone>, place: Place) -> Self {
        let Place { scheme, port } = place;
        Self {
            zones,
            scheme,
            port,
            tls: None,
            bind: Vec::new(),
            errors: None,
            log: Vec::new(),
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
            compat: compat::Messages::default(),
            template: Vec::new(),
            transfer: Vec::new(),
            hosts: None,
            external: None,
            files: Vec::new(),
            whoami: false,
            plugins: Vec::new(),
            digest: None,
            watched: Vec::new(),
        }
    }
}
