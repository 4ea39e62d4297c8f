//! EndpointSlices: the addresses behind a Service.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::{ObjectName, Protocol, ServiceName, Text};

/// An EndpointSlice (discovery/v1), trimmed, or one made from Pods or a legacy Endpoints object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: ObjectName,
    /// The Service it belongs to, from the label `kubernetes.io/service-name`.
    pub service: ServiceName,
    /// `addressType`; slices of type FQDN are not kept.
    pub family: AddressFamily,
    /// Ports that every endpoint of the slice listens on.
    pub ports: Box<[EndpointPort]>,
    /// The endpoints, in the object's order.
    pub endpoints: Vec<Endpoint>,
    /// The label `service.kubernetes.io/headless` is present: not for proxies.
    pub headless: bool,
    /// The cluster that it was imported from; `None` for a Service's own.
    pub cluster: Option<Arc<str>>,
}

/// `addressType` of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// One entry of `ports`; entries without a name or number are dropped, as kube-proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Matches the Service port's name.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where the endpoint listens.
    pub port: u16,
}

/// One entry of `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of `addresses`; the API gives the others no meaning.
    pub address: IpAddr,
    /// `conditions.ready`; absent means true.
    pub ready: bool,
    /// `conditions.serving`; absent means true.
    pub serving: bool,
    /// `conditions.terminating`; absent means false.
    pub terminating: bool,
    /// `hostname`, the name DNS gives the endpoint.
    pub hostname: Option<Text>,
    /// `targetRef.name` where `targetRef.kind` is `Pod`.
    pub pod: Option<Text>,
    /// Where it runs and for whom it is meant, where anything is said of that.
    pub locality: Option<Arc<Locality>>,
}

/// Where an endpoint runs, and for whom it is meant: the same for most endpoints of a node, and shared by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// `nodeName`.
    pub node: Option<Text>,
    /// `zone`.
    pub zone: Option<Text>,
    /// `hints`.
    pub hints: Hints,
}

/// `hints`: for which nodes or zones the endpoint is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    /// `forZones[].name`.
    pub zones: Names,
    /// `forNodes[].name`.
    pub nodes: Names,
}

/// A few names, mostly none: there are as many of these as endpoints.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::box_collection, reason = "a pointer is a third of a vector")]
pub struct Names(Option<Box<Vec<Text>>>);

static NO_HINTS: Hints = Hints { zones: Names(None), nodes: Names(None) };

impl Endpoint {
    /// `nodeName`.
    pub fn node(&self) -> Option<&str> {
        self.locality.as_ref()?.node.as_deref()
    }

    /// `zone`.
    pub fn zone(&self) -> Option<&str> {
        self.locality.as_ref()?.zone.as_deref()
    }

    /// `hints`.
    pub fn hints(&self) -> &Hints {
        self.locality.as_ref().map_or(&NO_HINTS, |locality| &locality.hints)
    }
}

impl Locality {
    /// For one endpoint or many; nothing where nothing is said.
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

impl Deref for Names {
    type Target = [Text];

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map(Vec::as_slice).unwrap_or_default()
    }
}

impl FromIterator<Text> for Names {
    fn from_iter<I: IntoIterator<Item = Text>>(names: I) -> Self {
        let names: Vec<Text> = names.into_iter().collect();
        Self((!names.is_empty()).then(|| Box::new(names)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl AddressFamily {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The family as Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}
