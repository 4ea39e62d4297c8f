//! A client, a node with an agent to be started, three pods, and a Service in front of them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, SocketAddr},
};

use seaway_harness::{Agent, AgentSetup, ApiBehaviour, ApiServer, launcher};
use seaway_lab::{
    Namespace, Server, Topology, echo,
    echo::{Listener, Protocol},
    http,
    load::{Load, Plan},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};

/// Long enough for a loaded machine.
const PATIENCE_MS: u64 = 30_000;
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
const GATEWAYS: [&str; 2] = ["10.1.1.1", "fd77:1::1"];
/// Names and addresses of the pods.
const PODS: [(&str, [&str; 2]); 3] = [
    ("pod-1", ["10.1.1.111", "fd77:1::11"]),
    ("pod-2", ["10.1.1.112", "fd77:1::12"]),
    ("pod-3", ["10.1.1.114", "fd77:1::14"]),
];

/// The Service's addresses.
pub const VIPS: [&str; 2] = ["10.96.0.80", "fd96::80"];
/// Its ports: what pods listen on is 8000 more.
pub const ECHO_TCP: u16 = 80;
/// TCP and UDP on one port.
pub const BOTH: u16 = 53;
/// HTTP.
pub const HTTP: u16 = 81;
/// Where an agent tells its metrics.
pub const METRICS: u16 = 10249;

/// Which hook translates: that of a socket's cgroup, or XDP on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A process in the agent's cgroup, on the node.
    Socket,
    /// A process outside of the node.
    Xdp,
}

impl Path {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Socket, Self::Xdp];
}

/// The network, its servers, and what an agent works with. No agent runs yet.
#[derive(Debug)]
pub struct Network {
    /// Folders, cgroup and pins; before the namespaces, so that programs are detached first.
    pub setup: AgentSetup,
    /// The namespaces.
    pub topology: Topology,
    _servers: Vec<Server>,
}

impl Network {
    /// The network with the Service `echo` in front of the pods with these numbers, from 0.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn new(endpoints: &[usize]) -> Self {
        let gateways = GATEWAYS.map(ip);
        let addresses = PODS.map(|(_, texts)| texts.map(ip));
        let pods: Vec<(&str, &[IpAddr])> =
            PODS.iter().zip(&addresses).map(|((name, _), own)| (*name, own.as_slice())).collect();
        let topology = Topology::new(&gateways, &pods).unwrap_or_else(|error| panic!("{error}"));
        let mut servers = Vec::new();
        for (pod, (name, texts)) in topology.pods.iter().zip(PODS) {
            let mut listeners = Vec::new();
            for address in texts.map(ip) {
                let listener = |protocol, port: u16| {
                    let address = SocketAddr::new(address, 8000 + port);
                    Listener { name: name.into(), protocol, address }
                };
                listeners.push(listener(Protocol::Tcp, ECHO_TCP));
                listeners.push(listener(Protocol::Tcp, BOTH));
                listeners.push(listener(Protocol::Udp, BOTH));
                let http = http::serve(&pod.namespace, name, (address, 8000 + HTTP).into());
                servers.push(http.unwrap_or_else(|error| panic!("{error}")));
            }
            servers.push(echo::serve(&pod.namespace, &listeners).unwrap_or_else(|error| panic!("{error}")));
        }
        let setup = AgentSetup::new(topology.interfaces());
        setup.write("echo.yaml", &manifest(endpoints));
        Self { setup, topology, _servers: servers }
    }

    /// Starts an agent on the node and waits until it is ready.
    pub fn start(&self) -> Agent {
        self.setup.start(self.topology.node.namespace())
    }

    /// An API server within reach of the node's agent, which will follow it.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn api_server(&mut self) -> ApiServer {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0");
        let listener = self.topology.node.namespace().run(bind).expect("the node's namespace");
        let server = ApiServer::serve(listener.expect("a port"), ApiBehaviour::default());
        self.setup.follow(&server);
        server
    }

    /// What the node answers to a GET over HTTP: status and body; none when nothing listens.
    ///
    /// # Panics
    /// When the node's namespace cannot be entered.
    pub fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        self.get_at(self.topology.node.namespace(), (std::net::Ipv4Addr::LOCALHOST, port).into(), path)
    }

    /// What an address answers to a GET from a namespace.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    pub fn get_at(&self, from: &Namespace, address: SocketAddr, path: &str) -> Option<(u16, String)> {
        let ask = || -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect_timeout(&address, CONNECT_WITHIN)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = from.run(ask).expect("the namespace").ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The value of a metric of the node's agent, by its name and labels; none before it is told.
    ///
    /// # Panics
    /// When the node's namespace cannot be entered.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get(METRICS, "/metrics")?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.next()?.parse().ok()
    }

    /// A process that asks questions by way of `path`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn prober(&self, path: Path) -> ProbeProcess {
        let cgroup = (path == Path::Socket).then(|| self.setup.cgroup());
        ProbeProcess::start(self.home(path), &launcher(), cgroup).unwrap_or_else(|error| panic!("{error}"))
    }

    /// HTTP load on the Service by way of `path`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn load(&self, path: Path, plan: &Plan) -> Load {
        let cgroup = (path == Path::Socket).then(|| self.setup.cgroup());
        Load::start(self.home(path), &launcher(), cgroup, plan).unwrap_or_else(|error| panic!("{error}"))
    }

    fn home(&self, path: Path) -> &Namespace {
        match path {
            Path::Socket => self.topology.node.namespace(),
            Path::Xdp => &self.topology.client,
        }
    }
}

/// The Service `echo` with these pods as its endpoints, numbered from 0.
pub fn manifest(endpoints: &[usize]) -> String {
    let ports =
        [("echo", ECHO_TCP, "TCP"), ("both", BOTH, "TCP"), ("both-udp", BOTH, "UDP"), ("http", HTTP, "TCP")];
    let list = |offset: u16| -> String {
        let port = |(name, port, protocol): (&str, u16, &str)| {
            format!("- {{name: {name}, port: {}, protocol: {protocol}}}\n", port + offset)
        };
        ports.into_iter().map(port).collect()
    };
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: echo}}\nspec:\n  clusterIP: {0}\n  \
         clusterIPs: [{0}, '{1}']\n  ports:\n{2}",
        VIPS[0],
        VIPS[1],
        list(0).replace("- ", "  - ")
    );
    for (index, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let endpoint = |&pod: &usize| format!("{{addresses: ['{}']}}", PODS[pod].1[index]);
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: echo-{}\n  \
             labels: {{kubernetes.io/service-name: echo}}\naddressType: {family}\nports:\n{}endpoints: [{}]\n",
            family.to_lowercase(),
            list(8000),
            endpoints.join(", ")
        );
    }
    text
}

/// The names of the pods.
pub fn pods() -> [&'static str; 3] {
    PODS.map(|(name, _)| name)
}

/// The HTTP address of a pod, IPv4.
pub fn http_of(pod: usize) -> SocketAddr {
    SocketAddr::new(ip(PODS[pod].1[0]), 8000 + HTTP)
}

/// The Service's address and `port`, IPv4 or IPv6 by index.
pub fn vip(family: usize, port: u16) -> SocketAddr {
    SocketAddr::new(ip(VIPS[family]), port)
}

/// A question whose answer may take its time on a loaded machine.
pub fn question(transport: Transport, to: SocketAddr) -> Probe {
    Probe { timeout_ms: PATIENCE_MS, ..Probe::new(transport, to) }
}

/// Asks, and returns who answered and who they are to the client.
///
/// # Panics
/// When nobody answers.
#[track_caller]
pub fn ask(prober: &mut ProbeProcess, question: &Probe) -> (String, SocketAddr) {
    match prober.ask(question).unwrap_or_else(|error| panic!("{error}")) {
        Outcome::Answered { answer, remote } => (answer.name, remote),
        outcome => panic!("{question:?}: {outcome:?}"),
    }
}

/// Asks `times`, each time anew, and counts who answered. Every answer has to come from `to`.
///
/// # Panics
/// When one does not.
#[track_caller]
pub fn spread(
    prober: &mut ProbeProcess,
    transport: Transport,
    to: SocketAddr,
    times: usize,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let (name, remote) = ask(prober, &question(transport, to));
        assert_eq!(remote, to, "{transport:?}: {name} answered");
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
