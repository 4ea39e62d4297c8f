//! The Services: one for each kind of endpoint and policy, dual-stack, TCP and UDP.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use seaway_lab::TwoNodes;

use super::{TARGET_TCP, TARGET_UDP};

const TCP: u16 = 80;
const UDP: u16 = 53;
const NODE_PORTS: u16 = 30_080;

/// Where a Service's only endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A pod of the node that the client asks.
    LocalPod,
    /// That node itself: a pod with its network.
    LocalHost,
    /// A pod of the other node.
    Remote,
}

/// The external traffic policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Any endpoint.
    Cluster,
    /// Only those of the node that was asked, and the client keeps its address.
    Local,
}

/// Which of its addresses is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frontend {
    /// The cluster IP.
    Cluster,
    /// The port of `n1`.
    NodePort,
    /// The load balancer's address, which nobody owns.
    LoadBalancer,
}

/// One of the Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Where its endpoint is.
    pub endpoint: Endpoint,
    /// Its external traffic policy.
    pub policy: Policy,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LocalPod, Self::LocalHost, Self::Remote];

    /// The name it answers with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalPod => "local",
            Self::LocalHost => "n1",
            Self::Remote => "remote",
        }
    }

    /// Its addresses.
    pub const fn addresses(self) -> [IpAddr; 2] {
        match self {
            Self::LocalPod => TwoNodes::pod_addresses(1, 1),
            Self::LocalHost => TwoNodes::N1,
            Self::Remote => TwoNodes::pod_addresses(2, 1),
        }
    }
}

impl Frontend {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::NodePort, Self::LoadBalancer];
}

impl Service {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Endpoint::ALL
            .into_iter()
            .flat_map(|endpoint| [Policy::Cluster, Policy::Local].map(|policy| Self { endpoint, policy }))
    }

    /// The address and port of a frontend, IPv4 or IPv6 by index.
    pub fn address(self, frontend: Frontend, family: usize, is_tcp: bool) -> SocketAddr {
        let port = if is_tcp { TCP } else { UDP };
        match frontend {
            Frontend::Cluster => (self.cluster_ips()[family], port).into(),
            Frontend::NodePort => (TwoNodes::N1[family], self.node_port(is_tcp)).into(),
            Frontend::LoadBalancer => (self.load_balancers()[family], port).into(),
        }
    }

    fn name(self) -> String {
        let Self { endpoint, policy } = self;
        format!("{endpoint:?}-{policy:?}").to_lowercase()
    }

    fn number(self) -> u8 {
        10 + self.endpoint as u8 * 2 + self.policy as u8
    }

    fn node_port(self, is_tcp: bool) -> u16 {
        NODE_PORTS + u16::from(self.number()) * 2 + u16::from(!is_tcp)
    }

    fn cluster_ips(self) -> [IpAddr; 2] {
        let number = self.number();
        let v6 = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, number.into());
        [Ipv4Addr::new(10, 96, 0, number).into(), v6.into()]
    }

    fn load_balancers(self) -> [IpAddr; 2] {
        let number = self.number();
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x1b, 0, 0, 0, 0, number.into());
        [Ipv4Addr::new(203, 0, 113, number).into(), v6.into()]
    }

    fn manifest(self) -> String {
        let (name, policy) = (self.name(), self.policy);
        let [v4, v6] = self.cluster_ips();
        let [balancer4, balancer6] = self.load_balancers();
        let mut text = format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
             type: LoadBalancer\n  externalTrafficPolicy: {policy:?}\n  clusterIP: {v4}\n  \
             clusterIPs: [{v4}, '{v6}']\n  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: RequireDualStack\n  ports:\n  \
             - {{name: tcp, port: {TCP}, targetPort: {TARGET_TCP}, nodePort: {}}}\n  \
             - {{name: udp, port: {UDP}, targetPort: {TARGET_UDP}, nodePort: {}, protocol: UDP}}\n\
             status: {{loadBalancer: {{ingress: [{{ip: {balancer4}}}, {{ip: '{balancer6}'}}]}}}}\n",
            self.node_port(true),
            self.node_port(false),
        );
        let node = if self.endpoint == Endpoint::Remote { "n2" } else { "n1" };
        for (family, address) in ["IPv4", "IPv6"].into_iter().zip(self.endpoint.addresses()) {
            // Writing to a string does not fail.
            write!(
                text,
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{}\n  \
                 namespace: default\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: {family}\nports:\n\
                 - {{name: tcp, port: {TARGET_TCP}}}\n- {{name: udp, port: {TARGET_UDP}, protocol: UDP}}\n\
                 endpoints: [{{addresses: ['{address}'], nodeName: {node}, conditions: {{ready: true}}}}]\n",
                family.to_lowercase()
            )
            .ok();
        }
        text
    }
}

/// All objects of the cluster, nodes included.
pub fn manifests(network: &TwoNodes) -> String {
    let mut text = String::new();
    for (name, number, [v4, v6]) in [("n1", 1, TwoNodes::N1), ("n2", 2, network.n2())] {
        // Writing to a string does not fail.
        write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n\
             spec: {{podCIDR: 10.1.{number}.0/24, podCIDRs: [10.1.{number}.0/24, 'fd77:{number}::/64']}}\n\
             status: {{addresses: [{{type: InternalIP, address: {v4}}}, {{type: InternalIP, address: '{v6}'}}]}}\n"
        )
        .ok();
    }
    text.extend(Service::all().map(Service::manifest));
    text
}
