//! The namespaces, links and routes of the topology.

use std::net::IpAddr;

use ipnet::IpNet;
use seaway_lab::{End, Error, Namespace, Node, NodeSettings, Pod, Route, Rule, Veth};

use super::places::{
    BEHIND_N1, LOCAL_PODS, N1_EXT, N1_NODE, N1_PODS, N2_NODE, N2_PODS, POD_RANGE, Place, REMOTE_PODS,
    client_addresses,
};

/// The link of n1 to the client.
const EXT: &str = "ext0";
/// The link between the nodes, at both ends.
const NODE: &str = "node0";
/// The links of the client and of the pods to their node.
const CLIENT: &str = "eth0";
const POD_LINK: &str = "eth0";
/// n2 looks up here first what comes from n1.
const FROM_N1: u32 = 100;

/// Everything but the programs in it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) client: Namespace,
    pub(crate) n1: Node,
    pub(crate) n2: Node,
    pub(crate) pods: Vec<(Place, Pod)>,
    /// The pods that share one namespace.
    pub(crate) range: Pod,
}

impl Network {
    /// Builds it.
    pub(crate) fn build() -> Result<Self, Error> {
        let client = Namespace::new("client")?;
        let settings = NodeSettings::gentle("the recorded network had no firewall and no filter");
        let n1 = Node::with("n1", &N1_PODS.map(address), settings.clone())?;
        let n2 = Node::with("n2", &N2_PODS.map(address), settings)?;
        connect_client(&client, n1.namespace())?;
        let mut pods = Vec::new();
        for (node, listed) in [(&n1, LOCAL_PODS), (&n2, REMOTE_PODS)] {
            for (place, addresses) in listed {
                let addresses = addresses.map(|text| address(text).into());
                pods.push((place, node.add_pod(&place.to_string(), &addresses)?));
            }
        }
        let range = n2.add_pod("pod-m", &POD_RANGE.map(network))?;
        connect_nodes(n1.namespace(), n2.namespace())?;
        let network = Self { client, n1, n2, pods, range };
        network.take_transmitted_frames()?;
        Ok(network)
    }

    /// A veth hands over what an XDP program at its other end transmits only while it polls, which
    /// receive offload switches on (Linux 5.13); a network card always does.
    fn take_transmitted_frames(&self) -> Result<(), Error> {
        let pods = self.pods.iter().map(|(_, pod)| (&pod.namespace, POD_LINK));
        for (namespace, link) in [(&self.client, CLIENT), (self.n2.namespace(), NODE)].into_iter().chain(pods)
        {
            namespace.set_features(link, &[("rx-gro", true)])?;
        }
        Ok(())
    }

    /// The links of n1.
    pub(crate) fn interfaces() -> impl Iterator<Item = String> {
        [EXT.to_owned(), NODE.to_owned()].into_iter()
    }

    /// The interfaces of n1 that lead to its pods.
    pub(crate) fn pod_interfaces() -> impl Iterator<Item = String> {
        LOCAL_PODS.iter().map(|(place, _)| place.to_string())
    }

    /// Where a place's programs run.
    pub(crate) fn namespace(&self, place: Place) -> &Namespace {
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
}

fn connect_client(client: &Namespace, n1: &Namespace) -> Result<(), Error> {
    let addresses = [true, false].into_iter().flat_map(client_addresses).map(on_subnet);
    let near = End::new(n1, EXT).addresses(N1_EXT.map(|text| on_subnet(address(text))));
    Veth::new(near, End::new(client, CLIENT).addresses(addresses)).connect()?;
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

/// An address of the topology.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address of the topology")
}

/// A network of the topology.
pub(crate) fn network(text: &str) -> IpNet {
    text.parse().expect("a network of the topology")
}

fn on_subnet(address: IpAddr) -> IpNet {
    IpNet::new_assert(address, if address.is_ipv4() { 24 } else { 64 })
}
