//! Routes and routing rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        route::{RouteMessage, RouteScope, RouteType},
        rule::RuleAction,
    },
};

use crate::{Error, Namespace, netlink};

const LOCAL_TABLE: u32 = 255;

/// One route, to be given to [`Namespace::add_route`].
#[derive(Debug, Clone)]
pub struct Route {
    destination: IpNet,
    kind: RouteType,
    gateway: Option<IpAddr>,
    link: Option<String>,
    onlink: bool,
    table: Option<u32>,
    source: Option<IpAddr>,
}

impl Route {
    /// A route to `destination`; it needs a gateway or a link.
    #[must_use]
    pub fn to(destination: impl Into<IpNet>) -> Self {
        let destination = destination.into();
        Self {
            destination,
            kind: RouteType::Unicast,
            gateway: None,
            link: None,
            onlink: false,
            table: None,
            source: None,
        }
    }

    /// The default route of the gateway's family through `gateway`.
    #[must_use]
    pub fn default_via(gateway: IpAddr) -> Self {
        Self::to(everything(gateway)).via(gateway)
    }

    /// Drops silently what goes to `destination`.
    #[must_use]
    pub fn blackhole(destination: IpNet) -> Self {
        Self { kind: RouteType::BlackHole, ..Self::to(destination) }
    }

    /// Refuses what goes to `destination`: an error for local programs, ICMP for others.
    #[must_use]
    pub fn unreachable(destination: IpNet) -> Self {
        Self { kind: RouteType::Unreachable, ..Self::to(destination) }
    }

    /// Makes all of `destination` the namespace's own, as if each address were on loopback.
    #[must_use]
    pub fn local(destination: IpNet) -> Self {
        let local = Self { kind: RouteType::Local, table: Some(LOCAL_TABLE), ..Self::to(destination) };
        local.link("lo")
    }

    /// Through this gateway.
    #[must_use]
    pub fn via(self, gateway: IpAddr) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// Through this link.
    #[must_use]
    pub fn link(self, link: impl Into<String>) -> Self {
        Self { link: Some(link.into()), ..self }
    }

    /// The gateway is a neighbour on the link, whatever the link's addresses say.
    #[must_use]
    pub fn onlink(self) -> Self {
        Self { onlink: true, ..self }
    }

    /// In this table instead of the main one.
    #[must_use]
    pub fn table(self, table: u32) -> Self {
        Self { table: Some(table), ..self }
    }

    /// From this address, where a program does not choose one.
    #[must_use]
    pub fn source(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    async fn message(&self, handle: &Handle) -> Result<RouteMessage, rtnetlink::Error> {
        let mut builder = RouteMessageBuilder::<IpAddr>::new().kind(self.kind);
        let (address, length) = (self.destination.network(), self.destination.prefix_len());
        builder = builder.destination_prefix(address, length).map_err(invalid)?;
        if let Some(gateway) = self.gateway {
            builder = builder.gateway(gateway).map_err(invalid)?;
        } else if self.kind == RouteType::Local {
            builder = builder.scope(RouteScope::Host);
        } else if address.is_ipv4() && self.kind == RouteType::Unicast {
            // Without this scope the kernel does not accept gateways behind the route.
            builder = builder.scope(RouteScope::Link);
        }
        if let Some(link) = &self.link {
            builder = builder.output_interface(netlink::link_index(handle, link).await?);
        }
        if let Some(source) = self.source {
            builder = builder.pref_source(source).map_err(invalid)?;
        }
        if let Some(table) = self.table {
            builder = builder.table_id(table);
        }
        Ok(if self.onlink { builder.onlink().build() } else { builder.build() })
    }
}

/// A routing rule, to be given to [`Namespace::add_rule`]: what enters by a link is looked up in a
/// table of its own first.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The link by which packets enter.
    pub input: String,
    /// The table to look them up in.
    pub table: u32,
    /// Lower comes first; the main table is looked up at 32766.
    pub priority: u32,
}

impl Namespace {
    /// Adds a route.
    ///
    /// # Errors
    /// When it exists, or its link or gateway cannot be reached.
    pub fn add_route(&self, route: &Route) -> Result<(), Error> {
        netlink::with(self, &format!("add the route to {}", route.destination), async |handle| {
            let message = route.message(&handle).await?;
            handle.route().add(message).execute().await
        })
    }

    /// Takes a route away.
    ///
    /// # Errors
    /// When there is no such route.
    pub fn remove_route(&self, route: &Route) -> Result<(), Error> {
        netlink::with(self, &format!("remove the route to {}", route.destination), async |handle| {
            let message = route.message(&handle).await?;
            handle.route().del(message).execute().await
        })
    }

    /// Adds a routing rule for both families.
    ///
    /// # Errors
    /// When it exists.
    pub fn add_rule(&self, rule: &Rule) -> Result<(), Error> {
        netlink::with(self, &format!("add the rule for {}", rule.input), async |handle| {
            let request = || {
                let request = handle.rule().add().input_interface(&rule.input).table_id(rule.table);
                request.priority(rule.priority).action(RuleAction::ToTable)
            };
            request().v4().execute().await?;
            request().v6().execute().await
        })
    }
}

fn invalid(error: impl std::error::Error) -> rtnetlink::Error {
    rtnetlink::Error::InvalidNla(error.to_string())
}

/// The network of all addresses of the family of `address`.
fn everything(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}
