//! Two nodes as clusters have them, Services with every kind of endpoint, and a table of who reaches
//! what: the same for every layout, firewall, kernel setting and way to attach.

pub mod case;
mod matrix;
mod nft_rules;
pub mod packets;
mod script_server;
mod services;

pub use matrix::{Cell, Failure, Matrix};
pub use nft_rules::balance_with_nftables;
pub use script_server::ScriptServer;
pub use services::{Endpoint, Frontend, Policy, Service, manifests};

use seaway_harness::{Agent, AgentSetup, launcher};
use seaway_lab::{
    Layout, Namespace, Node, NodeSettings, TwoNodes,
    echo::{EchoProcess, Listener, Protocol},
};

/// What endpoints listen on.
pub const TARGET_TCP: u16 = 8080;
/// What endpoints listen on, UDP.
pub const TARGET_UDP: u16 = 8053;
/// How many pods each node has: endpoints are the first, pods that ask the second.
const PODS: u8 = 2;

/// A network with servers in it, and what an agent on `n1` works with. No agent runs yet.
#[derive(Debug)]
pub struct Nodes {
    /// Before the cgroup, which goes when nobody is in it.
    _servers: Vec<EchoProcess>,
    /// Folders, cgroup and pins; before the namespaces, so that programs are detached first.
    pub setup: AgentSetup,
    /// The namespaces.
    pub network: TwoNodes,
}

impl Nodes {
    /// Builds it. `setup` says how agents are started; the manifests are written here.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn new(layout: Layout, settings: &NodeSettings, setup: AgentSetup) -> Self {
        let network =
            TwoNodes::new(layout, settings, PODS).unwrap_or_else(|error| panic!("{layout:?}: {error}"));
        // A host-network endpoint listens on a port that its firewall has to know.
        for node in &network.nodes {
            node.open_ports(&[TARGET_TCP, TARGET_UDP]).unwrap_or_else(|error| panic!("{error}"));
        }
        setup.write("services.yaml", &manifests(&network));
        let servers = start_servers(&network, &setup);
        Self { _servers: servers, setup, network }
    }

    /// Starts an agent on `n1` and waits until it is ready.
    pub fn start(&self) -> Agent {
        self.setup.start(self.n1())
    }

    /// The namespace of `n1`.
    pub fn n1(&self) -> &Namespace {
        self.network.nodes[0].namespace()
    }
}

/// The flags of an agent for a layout, where its interfaces are named by hand.
pub fn by_hand(layout: Layout) -> AgentSetup {
    let second = (layout == Layout::TwoUplinks).then_some(TwoNodes::SECOND_UPLINK);
    let tunnel = (layout == Layout::Vxlan).then_some("flannel.1");
    let uplinks = [layout.uplink()].into_iter().chain(second).chain(tunnel);
    AgentSetup::new(uplinks).arguments(["--pod-interface", "veth*"]).arguments(RANGES).arguments(NAME)
}

/// What clusters tell their agents.
pub const RANGES: [&str; 4] =
    ["--service-cidr", "10.96.0.0/16,fd96::/112", "--cluster-cidr", "10.1.0.0/16,fd77::/16"];
/// The name of the node that the agent runs on.
pub const NAME: [&str; 2] = ["--node-name", "n1"];

fn start_servers(network: &TwoNodes, setup: &AgentSetup) -> Vec<EchoProcess> {
    let [n1, n2] = network.nodes.each_ref().map(Node::namespace);
    let hosts = [
        (n1, "n1", TwoNodes::N1, true),
        (n2, "n2", network.n2(), false),
        (&network.local[0].namespace, "local", TwoNodes::pod_addresses(1, 1), true),
        (&network.remote[0].namespace, "remote", TwoNodes::pod_addresses(2, 1), false),
    ];
    hosts
        .into_iter()
        .map(|(namespace, name, addresses, is_on_n1)| {
            let listeners: Vec<_> = addresses
                .into_iter()
                .flat_map(|address| {
                    [(Protocol::Tcp, TARGET_TCP), (Protocol::Udp, TARGET_UDP)].map(|(protocol, port)| {
                        Listener { name: name.into(), protocol, address: (address, port).into() }
                    })
                })
                .collect();
            let cgroup = is_on_n1.then(|| setup.cgroup());
            EchoProcess::start(namespace, &launcher(), cgroup, &listeners)
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .collect()
}
