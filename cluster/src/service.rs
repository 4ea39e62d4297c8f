//! Services, as far as a proxy or a DNS server reads them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Labels, ServiceName};

/// A Service (core/v1), trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs` (or `clusterIP`); empty for headless and ExternalName Services.
    pub cluster_ips: Box<[IpAddr]>,
    /// `spec.clusterIP` is `None`.
    pub headless: bool,
    /// `spec.externalIPs` that parse, in the object's order.
    pub external_ips: Box<[IpAddr]>,
    /// `status.loadBalancer.ingress[].ip` with ipMode `VIP` (the default); `Proxy` is left out.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// `status.loadBalancer.ingress[]`, whoever answers at it: what names can lead to.
    pub ingress: Box<[Ingress]>,
    /// `spec.loadBalancerSourceRanges` that parse, host bits cleared.
    pub source_ranges: Box<[IpNet]>,
    /// `spec.ports`, in the object's order.
    pub ports: Box<[ServicePort]>,
    /// `spec.selector`; empty when the endpoints are given by hand.
    pub selector: Labels,
    /// `spec.sessionAffinity`.
    pub affinity: SessionAffinity,
    /// `spec.internalTrafficPolicy`.
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// `spec.trafficDistribution`, or the `service.kubernetes.io/topology-mode: Auto` annotation's meaning.
    pub distribution: Option<TrafficDistribution>,
    /// `spec.healthCheckNodePort`; 0 is none.
    pub health_check_node_port: u16,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// The label `service.kubernetes.io/service-proxy-name` is present: another proxy serves it.
    pub foreign_proxy: bool,
    /// Its labels.
    pub labels: Labels,
    /// Annotations under `seaway.io/`, without that prefix; all others are dropped on arrival.
    pub annotations: Labels,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Port name; empty when the Service has one unnamed port.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port of the virtual addresses.
    pub port: u16,
    /// The port on node addresses; 0 is none.
    pub node_port: u16,
    /// Where the selected pods listen.
    pub target: TargetPort,
}

/// `spec.type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// Reached by cluster IP.
    ClusterIp,
    /// Also by a port of every node.
    NodePort,
    /// Also by the addresses of a load balancer.
    LoadBalancer,
    /// A DNS alias of this host name; never proxied.
    ExternalName(Arc<str>),
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// `ip`.
    Address(IpAddr),
    /// `hostname`, where there is no `ip`.
    Host(Arc<str>),
}

/// `spec.ports[].protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// `spec.ports[].targetPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number; where absent in the object, the Service's own port.
    Number(u16),
    /// The name of a container port, looked up in each pod.
    Name(Arc<str>),
}

/// `spec.sessionAffinity` with its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAffinity {
    /// Every connection is placed anew.
    None,
    /// Connections of one client address go to one endpoint.
    ClientIp {
        /// Seconds after the last connection at which the choice is forgotten (default 10800).
        timeout_s: u32,
    },
}

/// `spec.internalTrafficPolicy` and `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    Cluster,
    /// Endpoints on the receiving node only.
    Local,
}

/// `spec.trafficDistribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficDistribution {
    /// `PreferClose` and `PreferSameZone` mean the same (KEP-3015).
    PreferSameZone,
    /// Endpoints of the client's own node first.
    PreferSameNode,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
