//! Who reaches what, asked with real sockets.

use std::{fmt, net::IpAddr, path::Path, thread};

use seaway_harness::launcher;
use seaway_lab::{
    Namespace, TwoNodes,
    probe::{Outcome, Probe, ProbeProcess, Transport},
};

use super::{Endpoint, Frontend, Nodes, Policy, Service};

/// Long enough for one SYN to be repeated on a loaded machine.
const TIMEOUT_MS: u64 = 4000;
/// How long is waited for what is not served.
const SILENCE_MS: u64 = 300;
/// A client that failed this often is not asked any more.
const FAILURES_MAX: usize = 6;
/// What `EMSGSIZE` reads.
const TOO_LONG: &str = "Message too long";
/// Bytes of an exchange each way, and of datagrams: in one packet, and in fragments.
const SIZES: [(Transport, usize); 3] =
    [(Transport::Exchange, 32_768), (Transport::Udp, 1200), (Transport::UdpUnconnected, 4000)];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// A pod of `n1`, whose sockets an agent sees.
    Pod,
    /// A pod of `n1` whose sockets are translated by nobody: a virtual machine, for instance.
    Machine,
    /// A process of `n1` itself.
    Node,
    /// Somebody outside.
    Outside,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    client: Client,
    service: Service,
    frontend: Frontend,
    family: usize,
    transport: Transport,
    size: usize,
}

/// A question that was not answered as it should be.
#[derive(Clone, Debug)]
pub struct Failure {
    cell: Cell,
    seen: String,
}

/// The whole table, asked of nodes as they are now.
#[derive(Debug)]
pub struct Matrix<'n> {
    nodes: &'n Nodes,
    /// Whether clients from outside are seen as themselves by endpoints on `n1`, whatever the policy.
    keeps_clients: bool,
}

impl<'n> Matrix<'n> {
    /// For nodes that an agent serves.
    pub fn new(nodes: &'n Nodes) -> Self {
        Self { nodes, keeps_clients: true }
    }

    /// For nodes that kube-proxy would serve, which masquerades clients from outside.
    pub fn masqueraded(nodes: &'n Nodes) -> Self {
        Self { nodes, keeps_clients: false }
    }

    /// Asks everything, every client at the same time, and returns how many questions were asked and
    /// what was not right.
    ///
    /// # Panics
    /// When a client's process cannot be started.
    pub fn ask(&self) -> (usize, Vec<Failure>) {
        thread::scope(|scope| {
            let threads = Client::ALL.map(|client| scope.spawn(move || self.ask_as(client)));
            let results = threads.map(|thread| thread.join().expect("a client's thread"));
            results.into_iter().fold((0, Vec::new()), |(asked, mut failures), (more, failed)| {
                failures.extend(failed);
                (asked + more, failures)
            })
        })
    }

    fn ask_as(&self, client: Client) -> (usize, Vec<Failure>) {
        let (namespace, cgroup) = self.home(client);
        let process = ProbeProcess::start(namespace, &launcher(), cgroup);
        let mut process = process.unwrap_or_else(|error| panic!("{error}"));
        let mut failures = Vec::new();
        let mut asked = 0;
        for cell in cells(client) {
            asked += 1;
            let timeout_ms = if cell.is_served() { TIMEOUT_MS } else { SILENCE_MS };
            let question = Probe { timeout_ms, size: cell.size, ..Probe::new(cell.transport, cell.to()) };
            let mut ask = || process.ask(&question).unwrap_or_else(|error| panic!("{error}"));
            let mut outcome = ask();
            // Routers tell senders of IPv6 how long packets may be; the next datagram fits.
            if matches!(&outcome, Outcome::Failed(why) if why.contains(TOO_LONG)) {
                outcome = ask();
            }
            failures.extend(self.check(&cell, &outcome).err().map(|seen| Failure { cell, seen }));
            if failures.len() >= FAILURES_MAX {
                break;
            }
        }
        (asked, failures)
    }

    fn home(&self, client: Client) -> (&'n Namespace, Option<&'n Path>) {
        let Nodes { network, setup, .. } = self.nodes;
        match client {
            Client::Pod => (&network.local[1].namespace, Some(setup.cgroup())),
            Client::Machine => (&network.local[1].namespace, None),
            Client::Node => (network.nodes[0].namespace(), Some(setup.cgroup())),
            Client::Outside => (&network.client, None),
        }
    }

    fn check(&self, cell: &Cell, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Answered { answer, remote } = outcome else {
            let is_right = !cell.is_served() && *outcome == Outcome::Timeout;
            return if is_right { Ok(()) } else { Err(format!("{outcome:?}")) };
        };
        if !cell.is_served() {
            return Err(format!("served by {}", answer.name));
        }
        if answer.name != cell.service.endpoint.name() || *remote != cell.to() {
            return Err(format!("{} answers as {remote}", answer.name));
        }
        let peer = answer.peer.ip();
        match self.source(cell) {
            Some(expected) if expected != peer => Err(format!("the endpoint sees {peer}, not {expected}")),
            _ => Ok(()),
        }
    }

    /// Whom the endpoint has to see, where that is a client's own address.
    fn source(&self, cell: &Cell) -> Option<IpAddr> {
        let is_kept =
            self.keeps_clients || cell.service.policy == Policy::Local && cell.frontend != Frontend::Cluster;
        let is_local = cell.service.endpoint != Endpoint::Remote;
        (cell.client == Client::Outside && is_kept && is_local).then_some(TwoNodes::CLIENT[cell.family])
    }
}

impl Client {
    const ALL: [Self; 4] = [Self::Pod, Self::Machine, Self::Node, Self::Outside];
}

impl Cell {
    fn to(&self) -> std::net::SocketAddr {
        self.service.address(self.frontend, self.family, self.transport == Transport::Exchange)
    }

    /// Policy `Local` without an endpoint on the node serves nobody from outside.
    fn is_served(&self) -> bool {
        let is_external = self.client == Client::Outside && self.frontend != Frontend::Cluster;
        !(is_external && self.service == Service { endpoint: Endpoint::Remote, policy: Policy::Local })
    }
}

fn cells(client: Client) -> impl Iterator<Item = Cell> {
    Service::all().flat_map(move |service| {
        Frontend::ALL.into_iter().flat_map(move |frontend| {
            (0..2).flat_map(move |family| {
                SIZES.map(|(transport, size)| Cell { client, service, frontend, family, transport, size })
            })
        })
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cell, seen } = self;
        let Cell { client, service: Service { endpoint, policy }, frontend, transport, .. } = cell;
        write!(
            f,
            "{client:?} > {frontend:?} {} {transport:?} > {endpoint:?}, policy {policy:?}: {seen}",
            cell.to()
        )
    }
}
