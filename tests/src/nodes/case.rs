//! A client, a hostile node and three pods with the Service `web` in front of them: what most public
//! reports need.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use seaway_harness::{Agent, AgentSetup, launcher};
use seaway_lab::{
    Namespace, NodeSettings, Pod, Topology,
    echo::{EchoProcess, Listener, Protocol},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};

use super::NAME;

/// The pods' gateways.
const GATEWAYS: [&str; 2] = ["10.1.1.1", "fd00:1::1"];
/// What an agent is told about the cluster.
const RANGES: [&str; 4] =
    ["--service-cidr", "10.96.0.0/16,fd96::/108", "--cluster-cidr", "10.1.0.0/16,fd00:1::/64"];
/// Names of the pods.
const PODS: [&str; 3] = ["p1", "p2", "p3"];
/// Long enough for a loaded machine.
const PATIENCE_MS: u64 = 10_000;

/// TCP port of the Service, and of its endpoints.
pub const WEB: u16 = 80;
/// UDP port of the Service, and of its endpoints.
pub const DNS: u16 = 53;
/// Node port of [`WEB`].
pub const NODE_WEB: u16 = 30_080;
/// Node port of [`DNS`].
pub const NODE_DNS: u16 = 30_053;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The client outside.
    Client,
    /// A process of the node, whose sockets the agent sees.
    Node,
    /// The pod with this number, from 1, whose sockets the agent sees.
    Pod(usize),
    /// The same pod without: a virtual machine, or a socket from before the agent.
    Machine(usize),
}

/// The network with its servers. No agent runs yet.
#[derive(Debug)]
pub struct Case {
    /// Before the cgroup, which goes when nobody is in it.
    servers: Vec<EchoProcess>,
    /// Folders, cgroup and pins; before the namespaces, so that programs are detached first.
    pub setup: AgentSetup,
    /// The namespaces.
    pub topology: Topology,
}

impl Case {
    /// Around a hostile node, with the Service in front of the pods with these numbers.
    pub fn new(endpoints: &[usize]) -> Self {
        Self::with(NodeSettings::hostile(), endpoints)
    }

    /// Around a node with these settings.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn with(settings: NodeSettings, endpoints: &[usize]) -> Self {
        let addresses = [1, 2, 3].map(pod);
        let pods: Vec<(&str, &[IpAddr])> =
            PODS.iter().zip(&addresses).map(|(name, own)| (*name, own.as_slice())).collect();
        let topology =
            Topology::with(settings, &GATEWAYS.map(ip), &pods).unwrap_or_else(|error| panic!("{error}"));
        let setup = AgentSetup::new([Topology::CLIENT_INTERFACE])
            .arguments(["--pod-interface", "p*"])
            .arguments(RANGES)
            .arguments(NAME);
        setup.write("web.yaml", &web(endpoints, ""));
        setup.write("node.yaml", &node(Topology::NODE));
        let servers = Vec::new();
        let mut case = Self { servers, setup, topology };
        for (number, addresses) in (1..).zip(addresses) {
            case.serve(From::Pod(number), PODS[number - 1], &addresses, &[WEB], &[DNS]);
        }
        case
    }

    /// Adds flags.
    #[must_use]
    pub fn arguments<const N: usize>(self, arguments: [&str; N]) -> Self {
        Self { setup: self.setup.arguments(arguments), ..self }
    }

    /// Lets a process answer on ports of these addresses, by this name.
    ///
    /// # Panics
    /// When they cannot be bound.
    pub fn serve(&mut self, place: From, name: &str, addresses: &[IpAddr], tcp: &[u16], udp: &[u16]) {
        let ports = tcp.iter().map(|port| (Protocol::Tcp, *port));
        let ports: Vec<_> = ports.chain(udp.iter().map(|port| (Protocol::Udp, *port))).collect();
        let listeners: Vec<_> = addresses
            .iter()
            .flat_map(|&address| {
                ports.iter().map(move |&(protocol, port)| Listener {
                    name: name.into(),
                    protocol,
                    address: (address, port).into(),
                })
            })
            .collect();
        let cgroup = place.is_hooked().then(|| self.setup.cgroup());
        let server = EchoProcess::start(self.namespace(place), &launcher(), cgroup, &listeners);
        self.servers.push(server.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Starts an agent on the node and waits until it is ready.
    pub fn start(&self) -> Agent {
        self.setup.start(self.node())
    }

    /// The node's namespace.
    pub fn node(&self) -> &Namespace {
        self.topology.node.namespace()
    }

    /// The client's namespace.
    pub fn client(&self) -> &Namespace {
        &self.topology.client
    }

    /// The pod with this number, from 1.
    pub fn pod(&self, number: usize) -> &Pod {
        &self.topology.pods[number - 1]
    }

    /// Where a place's processes are.
    pub fn namespace(&self, place: From) -> &Namespace {
        match place {
            From::Client => self.client(),
            From::Node => self.node(),
            From::Pod(number) | From::Machine(number) => &self.pod(number).namespace,
        }
    }

    /// A process that asks.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn prober(&self, place: From) -> ProbeProcess {
        let cgroup = place.is_hooked().then(|| self.setup.cgroup());
        let process = ProbeProcess::start(self.namespace(place), &launcher(), cgroup);
        process.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks once, by a process of its own.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn ask(&self, place: From, transport: Transport, to: SocketAddr) -> Outcome {
        let size = if transport == Transport::Exchange { 16_384 } else { 200 };
        let probe = Probe { timeout_ms: PATIENCE_MS, size, ..Probe::new(transport, to) };
        self.prober(place).ask(&probe).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks once and checks that somebody answers who is, to the asker, who was asked.
    ///
    /// # Panics
    /// When nobody does; the message has the counters of the node's firewall.
    #[track_caller]
    pub fn check_served(&self, place: From, transport: Transport, to: SocketAddr) -> String {
        let outcome = self.ask(place, transport, to);
        match &outcome {
            Outcome::Answered { answer, remote } if *remote == to => answer.name.clone(),
            _ => panic!(
                "{place:?} asks {to} by {transport:?}: {outcome:?}\n{}",
                self.topology.node.firewall_counters()
            ),
        }
    }
}

impl From {
    fn is_hooked(self) -> bool {
        matches!(self, Self::Node | Self::Pod(_))
    }
}

/// The addresses of the pod with this number, from 1.
pub fn pod(number: usize) -> [IpAddr; 2] {
    [ip(&format!("10.1.1.11{number}")), ip(&format!("fd00:1::11{number}"))]
}

/// The Service's own addresses with this port, IPv4 or IPv6 by index.
pub fn vip(family: usize, port: u16) -> SocketAddr {
    (ip(["10.96.0.80", "fd96::80"][family]), port).into()
}

/// The node's address with this port, IPv4 or IPv6 by index.
pub fn node_port(family: usize, port: u16) -> SocketAddr {
    (Topology::NODE[family], port).into()
}

/// An address from its text.
///
/// # Panics
/// When it is none.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The Service `web`, dual-stack, in front of the pods with these numbers. `spec`: more lines of its
/// spec, with their line ends.
pub fn web(endpoints: &[usize], spec: &str) -> String {
    let places: Vec<_> = endpoints.iter().map(|&number| (pod(number), Some("n1"))).collect();
    web_at(&places, spec)
}

/// The Service `web` in front of these addresses, each with its node, if it has one.
pub fn web_at(endpoints: &[([IpAddr; 2], Option<&str>)], spec: &str) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\nspec:\n  type: NodePort\n  \
         clusterIP: 10.96.0.80\n  clusterIPs: [10.96.0.80, 'fd96::80']\n  ipFamilies: [IPv4, IPv6]\n  \
         ipFamilyPolicy: RequireDualStack\n{spec}  ports:\n  \
         - {{name: a, port: {WEB}, targetPort: {WEB}, nodePort: {NODE_WEB}, protocol: TCP}}\n  \
         - {{name: u, port: {DNS}, targetPort: {DNS}, nodePort: {NODE_DNS}, protocol: UDP}}\n"
    );
    for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let ports = [("a", "TCP", WEB), ("u", "UDP", DNS)];
        let endpoints: Vec<_> = endpoints.iter().map(|(own, node)| (own[family], *node)).collect();
        text += &slice("web", kind, &ports, &endpoints);
    }
    text
}

/// An EndpointSlice with the document mark before it. `ports`: name, protocol, number.
pub fn slice(
    service: &str,
    family: &str,
    ports: &[(&str, &str, u16)],
    endpoints: &[(IpAddr, Option<&str>)],
) -> String {
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-{}\n  \
         namespace: default\n  labels: {{kubernetes.io/service-name: {service}}}\naddressType: {family}\nports:\n",
        family.to_lowercase()
    );
    for (name, protocol, port) in ports {
        // Writing to a string does not fail.
        writeln!(text, "- {{name: {name}, protocol: {protocol}, port: {port}}}").ok();
    }
    text.push_str(if endpoints.is_empty() { "endpoints: []\n" } else { "endpoints:\n" });
    for (address, node) in endpoints {
        let node = node.map(|node| format!(", nodeName: {node}")).unwrap_or_default();
        writeln!(text, "- {{addresses: ['{address}'], conditions: {{ready: true}}{node}}}").ok();
    }
    text
}

/// The Node object of the agent's node.
pub fn node(addresses: [IpAddr; 2]) -> String {
    let [v4, v6] = addresses;
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: n1}}\nspec: {{podCIDRs: [10.1.1.0/24, 'fd00:1::/64']}}\n\
         status: {{addresses: [{{type: InternalIP, address: {v4}}}, {{type: InternalIP, address: '{v6}'}}]}}\n"
    )
}
