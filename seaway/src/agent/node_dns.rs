//! The cluster's names, served on this node.
//!
//! ```text
//! facts ──▶ feed ──▶ server on the node's own addresses ◀── probe, once a second
//!                                                             │ those that answer
//!            the Service's endpoints on this node ◀── site ◀──┘
//! ```
//!
//! The server stands in for the Service only while it is ready and answers. When the agent is asked to
//! stop, new queries go to the Service's own endpoints first, and the server answers on for its
//! lameduck time. When the agent is killed or hangs, the programs are no longer told that the server
//! answers, and lead to the Service's own endpoints by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use seaway_cluster::Update;
use seaway_cluster::source::Wants;
use seaway_dataplane::site;
use seaway_dataplane::stand_in::StandIn;
use seaway_dns::block::{Place, Scheme};
use seaway_dns::server::{Listener, Server, ServerOptions, Service, descriptors_max};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Usage;
use crate::dns::{Configuration, raise_descriptors};

/// The port of the cluster's DNS.
const PORT: u16 = 53;
const PROBE_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Probes in a row without an answer after which a listener is not used any more.
const FAILURES_MAX: u32 = 2;
/// How long the programs lead to the server after it was last known to answer. A round of probes takes
/// two answers and a pause.
const ANSWERS_FOR: Duration = Duration::from_secs(3);
/// Queries under way when the agent is asked to stop have at least this long.
const DRAIN_MIN: Duration = Duration::from_secs(1);
/// A query of opcode STATUS: the server refuses it by itself (NOTIMP), and asks nobody.
const PROBE: [u8; 12] = [0x5e, 0xa1, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The node's own DNS server.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "DNS")]
#[group(skip)]
pub(super) struct Args {
    /// Serve DNS on this node as this Corefile says, in the place of the cluster's DNS Service.
    #[arg(long = "dns-corefile", value_name = "FILE", env = "SEAWAY_DNS_COREFILE")]
    corefile: Option<PathBuf>,
    /// Addresses of the cluster's DNS Service (default: those of kube-system/kube-dns, and of Services
    /// with the annotation `seaway.io/node-dns: "true"`).
    #[arg(long = "cluster-dns", value_name = "IP", env = "SEAWAY_CLUSTER_DNS", value_delimiter = ',')]
    services: Vec<IpAddr>,
    /// The port of the node's own addresses that the server listens on.
    #[arg(long = "dns-port", value_name = "PORT", env = "SEAWAY_DNS_PORT", default_value_t = 9053)]
    port: u16,
    /// Threads that answer over UDP, for each family.
    #[arg(long = "dns-threads", value_name = "N", env = "SEAWAY_DNS_THREADS", default_value_t = 1)]
    threads: usize,
}

/// A server of the names, and whether it answers.
pub(super) struct NodeDns {
    args: Args,
    configuration: Configuration,
    service: Arc<Service>,
    /// Of its own, so that a change of ten thousand Services delays no answer.
    runtime: Option<Runtime>,
    server: Option<Server>,
    listening: BTreeSet<SocketAddr>,
    prober: Option<JoinHandle<()>>,
    /// The folder of the pinned maps.
    maps: PathBuf,
    sender: watch::Sender<BTreeSet<SocketAddr>>,
    answering: watch::Receiver<BTreeSet<SocketAddr>>,
    ending: bool,
}

impl NodeDns {
    /// The server that is asked for, if one is.
    pub(super) fn new(args: &Args, maps: PathBuf) -> Result<Option<Self>> {
        let Some(corefile) = &args.corefile else { return Ok(None) };
        let configuration = Configuration::read(corefile.clone()).context("--dns-corefile")?;
        if !configuration.blocks().iter().any(|block| block.place() == place()) {
            return Err(Usage("--dns-corefile: no server block answers plain DNS on port 53").into());
        }
        let families = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let listeners = families.map(|address: IpAddr| listener((address, args.port).into()));
        raise_descriptors(descriptors_max(configuration.blocks(), &listeners, args.threads));
        let service = Service::new(configuration.engine());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (sender, answering) = watch::channel(BTreeSet::new());
        Ok(Some(Self {
            args: args.clone(),
            configuration,
            service,
            runtime: Some(runtime),
            server: None,
            listening: BTreeSet::new(),
            prober: None,
            maps,
            sender,
            answering,
            ending: false,
        }))
    }

    /// What both the proxy and the names are made from.
    pub(super) fn wants(&self, proxy: Wants) -> Wants {
        proxy.with(self.configuration.wants())
    }

    /// Makes facts visible to the next query.
    pub(super) fn feed(&mut self, facts: &Update) {
        self.configuration.feed(&self.service, facts);
    }

    /// Takes over a changed Corefile.
    pub(super) fn reload(&mut self, facts: &Update) {
        self.configuration.reload(&self.service, Some(facts));
    }

    /// Listens on these addresses of the node, and on no other.
    pub(super) fn listen(&mut self, addresses: &BTreeSet<IpAddr>) {
        let wanted: BTreeSet<SocketAddr> =
            addresses.iter().map(|address| (*address, self.args.port).into()).collect();
        let Some(runtime) = self.runtime.as_ref().filter(|_| wanted != self.listening) else { return };
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
        self.sender.send_replace(BTreeSet::new());
        if let Some(server) = self.server.take() {
            server.stop();
        }
        let listeners: Vec<Listener> = wanted.iter().copied().map(listener).collect();
        let _entered = runtime.enter();
        let options = ServerOptions { threads: self.args.threads };
        let started = StandIn::open(&self.maps)
            .map_err(anyhow::Error::from)
            .and_then(|stand_in| Ok((stand_in, Server::start(&self.service, &listeners, options)?)));
        match started {
            Ok((stand_in, server)) => {
                tracing::info!(listeners = ?wanted, "answering DNS for this node");
                let (service, sender) = (Arc::clone(&self.service), self.sender.clone());
                self.prober = Some(tokio::spawn(probe(service, wanted.clone(), stand_in, sender)));
                (self.server, self.listening) = (Some(server), wanted);
            }
            Err(error) => {
                self.listening.clear();
                let error = error.as_ref() as &dyn std::error::Error;
                tracing::warn!(error, "cannot answer DNS for this node yet; it will be tried again");
            }
        }
    }

    /// Waits until other listeners answer than before.
    pub(super) async fn changed(&mut self) {
        if self.answering.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The server, as the decisions see it.
    pub(super) fn site(&self) -> site::NodeDns {
        site::NodeDns {
            services: self.args.services.iter().copied().collect(),
            listeners: self.answering.borrow().clone(),
            ending: self.ending,
            silent: false,
        }
    }

    /// From now on nothing new is to come; what has come is answered for the time returned.
    pub(super) fn drain(&mut self) -> Duration {
        self.ending = true;
        self.service.stop();
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
        self.configuration.lameduck().max(DRAIN_MIN)
    }

    /// Ends the server.
    pub(super) fn end(&mut self) {
        self.sender.send_replace(BTreeSet::new());
        if let Some(server) = self.server.take() {
            server.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for NodeDns {
    fn drop(&mut self) {
        // A runtime must not be dropped where others run.
        self.end();
    }
}

fn listener(address: SocketAddr) -> Listener {
    Listener { address, place: place() }
}

fn place() -> Place {
    Place { scheme: Scheme::Dns, port: PORT }
}

/// Tells which listeners answer, as long as the server is ready; the programs are told first.
async fn probe(
    service: Arc<Service>,
    listeners: BTreeSet<SocketAddr>,
    mut stand_in: StandIn,
    sender: watch::Sender<BTreeSet<SocketAddr>>,
) {
    let mut failures: BTreeMap<SocketAddr, u32> =
        listeners.into_iter().map(|address| (address, FAILURES_MAX)).collect();
    loop {
        for (listener, failed) in &mut failures {
            *failed = if answers(*listener).await { 0 } else { *failed + 1 };
        }
        let ready = service.unready(Instant::now()).is_none();
        let sound = failures.iter().filter(|(_, failed)| ready && **failed < FAILURES_MAX);
        let sound: BTreeSet<SocketAddr> = sound.map(|(listener, _)| *listener).collect();
        if !sound.is_empty()
            && let Err(error) = stand_in.renew(ANSWERS_FOR)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "queries go to the cluster's endpoints");
        }
        sender.send_if_modified(|known| {
            let changed = *known != sound;
            if changed {
                if sound.is_empty() {
                    tracing::warn!(
                        "this node's DNS server is not fit: queries go to the cluster's endpoints"
                    );
                } else {
                    tracing::info!(listeners = ?sound, "this node's DNS server stands in for the cluster's");
                }
                *known = sound;
            }
            changed
        });
        sleep(PROBE_EVERY).await;
    }
}

async fn answers(listener: SocketAddr) -> bool {
    let any: IpAddr =
        if listener.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let ask = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(listener).await?;
        socket.send(&PROBE).await?;
        socket.recv(&mut [0; 512]).await
    };
    timeout(ANSWER_WITHIN, ask).await.is_ok_and(|answered| answered.is_ok())
}
