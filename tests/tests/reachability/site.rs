//! The topology of the cases: namespaces, links, routes, echo servers.

use std::net::IpAddr;

use ipnet::IpNet;
use seaway_harness::{AgentSetup, launcher};
use seaway_lab::{
    End, Error, Namespace, Node, Pod, Route, Rule, Veth,
    echo::{EchoProcess, Listener, Protocol},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};

use crate::places::{
    BEHIND_N1, LOCAL_PODS, N1_EXT, N1_NODE, N1_PODS, N2_NODE, N2_PODS, POD_RANGE, Place, REMOTE_PODS,
    client_addresses,
};

/// The links of n1 to the client and to n2; those of its pods have the pods' names.
const EXT: &str = "ext0";
const NODE: &str = "node0";
/// n2 looks up here first what comes from n1.
const FROM_N1: u32 = 100;
const ECHO_TCP: &[u16] = &[8080, 8081, 9000];
const ECHO_UDP: &[u16] = &[8080, 8081];
/// Flags of the agent beside its folders, interfaces and cgroup.
const AGENT: &[&str] = &["--node-name", "n1", "--cleanup"];
/// Long enough for a loaded machine.
const PATIENCE_MS: u64 = 10_000;

/// One topology. Its agents come and go.
#[derive(Debug)]
pub(crate) struct Site {
    _echoes: Vec<EchoProcess>,
    client: Namespace,
    n1: Node,
    n2: Node,
    pods: Vec<(Place, Pod)>,
    _range: Pod,
    /// Folders, cgroup and pins of the agents of n1.
    pub(crate) setup: AgentSetup,
}

impl Site {
    /// Builds it and checks that every echo server in a pod is reached without an agent.
    ///
    /// # Panics
    /// When it cannot be built.
    pub(crate) fn build() -> Self {
        Self::try_build().unwrap_or_else(|error| panic!("cannot build the topology: {error}"))
    }

    /// n1's namespace.
    pub(crate) fn n1(&self) -> &Namespace {
        self.n1.namespace()
    }

    /// Starts a process that asks, in n1's cgroup if it belongs there.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn prober(&self, place: Place) -> ProbeProcess {
        let cgroup = place.is_on_n1().then(|| self.setup.cgroup());
        let process = ProbeProcess::start(self.namespace(place), &launcher(), cgroup);
        process.unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_build() -> Result<Self, Error> {
        let interfaces = [EXT.to_owned(), NODE.to_owned()].into_iter();
        let pod_links = LOCAL_PODS.iter().map(|(place, _)| place.to_string());
        let setup = AgentSetup::new(interfaces.chain(pod_links)).arguments(AGENT.iter().copied());
        let client = Namespace::new("client")?;
        let n1 = Node::new("n1", &N1_PODS.map(address))?;
        let n2 = Node::new("n2", &N2_PODS.map(address))?;
        connect_client(&client, n1.namespace())?;
        let mut pods = Vec::new();
        for (node, listed) in [(&n1, LOCAL_PODS), (&n2, REMOTE_PODS)] {
            for (place, addresses) in listed {
                pods.push((
                    place,
                    node.add_pod(&place.to_string(), &addresses.map(|text| address(text).into()))?,
                ));
            }
        }
        let range = n2.add_pod("pod-m", &POD_RANGE.map(network))?;
        connect_nodes(n1.namespace(), n2.namespace())?;
        let mut site = Self { _echoes: Vec::new(), client, n1, n2, pods, _range: range, setup };
        site._echoes = site.start_echoes()?;
        site.check()?;
        Ok(site)
    }

    fn namespace(&self, place: Place) -> &Namespace {
        match place {
            Place::Client | Place::Client2 => &self.client,
            Place::N1 => self.n1.namespace(),
            Place::N2 => self.n2.namespace(),
            pod => {
                let found = self.pods.iter().find(|(place, _)| *place == pod);
                &found.expect("every pod is in the topology").1.namespace
            }
        }
    }

    fn start_echoes(&self) -> Result<Vec<EchoProcess>, Error> {
        let mut echoes = Vec::new();
        let mut start = |namespace, cgroup, listeners: &[Listener]| {
            echoes.push(EchoProcess::start(namespace, &launcher(), cgroup, listeners)?);
            Ok::<_, Error>(())
        };
        let own = |place: Place, addresses: &[&str]| {
            let addresses = addresses.iter().map(|text| address(text));
            addresses.flat_map(|address| listeners(&place.to_string(), address)).collect::<Vec<_>>()
        };
        let cgroup = Some(self.setup.cgroup());
        start(self.n1.namespace(), cgroup, &own(Place::N1, &[N1_NODE, N1_EXT, N1_PODS].concat()))?;
        start(self.n2.namespace(), None, &own(Place::N2, &[N2_NODE, N2_PODS].concat()))?;
        for (place, addresses) in LOCAL_PODS.iter().chain(&REMOTE_PODS) {
            start(self.namespace(*place), cgroup.filter(|_| place.is_on_n1()), &own(*place, addresses))?;
        }
        let range = (0..100).flat_map(|index| {
            POD_RANGE
                .into_iter()
                .flat_map(move |network| listeners(&format!("pod-m{index:03}"), nth(network, index)))
        });
        start(&self._range.namespace, None, &range.collect::<Vec<_>>())?;
        Ok(echoes)
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
                    let answered = matches!(&outcome, Outcome::Answered { answer, .. } if answer.name == pod.to_string());
                    assert!(answered, "{place} does not reach {pod} at {address}: {outcome:?}");
                }
            }
        }
        Ok(())
    }
}

fn connect_client(client: &Namespace, n1: &Namespace) -> Result<(), Error> {
    let addresses = [true, false].into_iter().flat_map(client_addresses).map(on_subnet);
    let near = End::new(n1, EXT).addresses(N1_EXT.map(|text| on_subnet(address(text))));
    Veth::new(near, End::new(client, "eth0").addresses(addresses)).connect()?;
    for gateway in N1_EXT {
        client.add_route(&Route::default_via(address(gateway)))?;
    }
    Ok(())
}

/// n2 sends what it knows to be behind n1 there, unless it came from there, and drops the rest.
fn connect_nodes(n1: &Namespace, n2: &Namespace) -> Result<(), Error> {
    let [near, far] = [(n1, N1_NODE), (n2, N2_NODE)].map(|(namespace, addresses)| {
        End::new(namespace, NODE).addresses(addresses.map(|text| on_subnet(address(text))))
    });
    Veth::new(near, far).connect()?;
    for gateway in N2_NODE {
        n1.add_route(&Route::default_via(address(gateway)))?;
    }
    n2.add_rule(&Rule { input: NODE.into(), table: FROM_N1, priority: FROM_N1 })?;
    for destination in BEHIND_N1.map(network) {
        let gateway =
            N1_NODE.map(address).into_iter().find(|own| own.is_ipv4() == destination.addr().is_ipv4());
        let gateway = gateway.expect("n1 has an address of each family");
        n2.add_route(&Route::to(destination).via(gateway))?;
        n2.add_route(&Route::blackhole(destination).table(FROM_N1))?;
    }
    for everything in ["0.0.0.0/0", "::/0"] {
        n2.add_route(&Route::blackhole(network(everything)))?;
    }
    Ok(())
}

fn listeners(name: &str, address: IpAddr) -> Vec<Listener> {
    let ports = ECHO_TCP.iter().map(|port| (Protocol::Tcp, *port));
    let ports = ports.chain(ECHO_UDP.iter().map(|port| (Protocol::Udp, *port)));
    ports
        .map(|(protocol, port)| Listener { name: name.to_owned(), protocol, address: (address, port).into() })
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address of the topology")
}

fn network(text: &str) -> IpNet {
    text.parse().expect("a network of the topology")
}

fn on_subnet(address: IpAddr) -> IpNet {
    IpNet::new_assert(address, if address.is_ipv4() { 24 } else { 64 })
}

/// The address at this place in a network.
fn nth(text: &str, index: u8) -> IpAddr {
    match network(text).network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::from(index)).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(index)).into()),
    }
}
