//! The topology of the cases with everything that runs in it, but for the agent.

use std::net::IpAddr;

use seaway_harness::{AgentSetup, launcher};
use seaway_lab::{
    Error, Namespace,
    echo::{EchoProcess, Listener, Protocol},
    probe::{Probe, ProbeProcess, Transport},
};

use super::{
    network::{Network, address, network},
    places::{LOCAL_PODS, N1_EXT, N1_NODE, N1_PODS, N2_NODE, N2_PODS, POD_RANGE, Place, REMOTE_PODS},
};

const ECHO_TCP: &[u16] = &[8080, 8081, 9000];
const ECHO_UDP: &[u16] = &[8080, 8081];
/// Flags of the agent beside its folders, interfaces and cgroup.
const AGENT: &[&str] = &[
    "--node-name",
    "n1",
    "--cleanup",
    "--cluster-cidr",
    "10.77.0.0/16,fd77::/16",
    "--service-cidr",
    "10.96.0.0/16,fd96::/112",
];
/// How many pods share one namespace.
const RANGE: u8 = 100;
/// Long enough for a loaded machine.
const PATIENCE_MS: u64 = 10_000;

/// One topology. Its agents come and go.
#[derive(Debug)]
pub(crate) struct Site {
    _echoes: Vec<EchoProcess>,
    network: Network,
    /// Folders, cgroup and pins of the agents of n1.
    pub(crate) setup: AgentSetup,
}

impl Site {
    /// Builds it and checks that the pods are reached without an agent.
    ///
    /// # Panics
    /// When it cannot be built.
    pub(crate) fn build() -> Self {
        Self::try_build().unwrap_or_else(|error| panic!("cannot build the topology: {error}"))
    }

    /// n1's namespace.
    pub(crate) fn n1(&self) -> &Namespace {
        self.network.namespace(Place::N1)
    }

    /// Starts a process that asks, in n1's cgroup if it belongs there.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn prober(&self, place: Place) -> ProbeProcess {
        let cgroup = place.is_on_n1().then(|| self.setup.cgroup());
        let process = ProbeProcess::start(self.network.namespace(place), &launcher(), cgroup);
        process.unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_build() -> Result<Self, Error> {
        let setup = AgentSetup::new(Network::interfaces())
            .arguments(AGENT.iter().copied())
            .arguments(Network::pod_interfaces().flat_map(|name| ["--pod-interface".to_owned(), name]));
        let network = Network::build()?;
        let echoes = start_echoes(&network, &setup)?;
        let site = Self { _echoes: echoes, network, setup };
        site.check()?;
        Ok(site)
    }

    /// Also lets everybody learn their neighbours' hardware addresses.
    fn check(&self) -> Result<(), Error> {
        for place in [Place::Client, Place::N1, Place::N2, Place::PodL1, Place::PodR1] {
            let mut prober = self.prober(place);
            for (pod, addresses) in LOCAL_PODS.iter().chain(&REMOTE_PODS) {
                for address in addresses.map(address) {
                    let from = place.source(address.is_ipv4()).map(|own| (own, 0).into());
                    let question = Probe::new(Transport::Tcp, (address, ECHO_TCP[0]).into());
                    let outcome = prober.ask(&Probe { from, timeout_ms: PATIENCE_MS, ..question })?;
                    let name = pod.to_string();
                    assert_eq!(outcome.name(), Some(&*name), "from {place} to {address}: {outcome:?}");
                }
            }
        }
        Ok(())
    }
}

/// Those of n1 and its pods are in n1's cgroup.
fn start_echoes(network: &Network, setup: &AgentSetup) -> Result<Vec<EchoProcess>, Error> {
    let nodes = [(Place::N1, [N1_NODE, N1_EXT, N1_PODS].concat()), (Place::N2, [N2_NODE, N2_PODS].concat())];
    let pods = LOCAL_PODS.iter().chain(&REMOTE_PODS).map(|(place, own)| (*place, own.to_vec()));
    let mut echoes = Vec::new();
    for (place, addresses) in nodes.into_iter().chain(pods) {
        let cgroup = place.is_on_n1().then(|| setup.cgroup());
        let name = place.to_string();
        let sockets: Vec<_> =
            addresses.into_iter().flat_map(|text| listeners(&name, address(text))).collect();
        echoes.push(EchoProcess::start(network.namespace(place), &launcher(), cgroup, &sockets)?);
    }
    let range = (0..RANGE).flat_map(|index| {
        let name = format!("pod-m{index:03}");
        POD_RANGE.into_iter().flat_map(move |network| listeners(&name, nth(network, index)))
    });
    let range: Vec<_> = range.collect();
    echoes.push(EchoProcess::start(&network.range.namespace, &launcher(), None, &range)?);
    Ok(echoes)
}

fn listeners(name: &str, address: IpAddr) -> Vec<Listener> {
    let ports = ECHO_TCP.iter().map(|port| (Protocol::Tcp, *port));
    let ports = ports.chain(ECHO_UDP.iter().map(|port| (Protocol::Udp, *port)));
    ports
        .map(|(protocol, port)| Listener { name: name.to_owned(), protocol, address: (address, port).into() })
        .collect()
}

/// The address at this place in a network.
fn nth(text: &str, index: u8) -> IpAddr {
    match network(text).network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::from(index)).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(index)).into()),
    }
}
