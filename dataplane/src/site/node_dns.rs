//! A DNS server of this node that stands in for the cluster's.
//!
//! While it answers, clients of the cluster's DNS Service get it here and no other endpoint. The Service's
//! own endpoints stand beside it in the maps, so that the programs find them when it answers no more.
//! While it comes to its end, new queries go to them, and sockets that have the server go on with it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use seaway_cluster::{AddressFamily, Protocol, Service, ServicePort};
use seaway_common::Be16;
use serde::{Deserialize, Serialize};

use crate::desired::{Port, Target};

/// Services with the annotation `seaway.io/node-dns: "true"` are stood in for.
const ANNOTATION: &str = "node-dns";
/// The Service that every cluster of kubeadm has its DNS behind.
const USUAL: (&str, &str) = ("kube-system", "kube-dns");
const PORT: u16 = 53;

/// The server, as far as it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDns {
    /// Addresses of the Services that it stands in for; without any, `kube-system/kube-dns`.
    pub services: BTreeSet<IpAddr>,
    /// Where it answers, over UDP and TCP; one address of each family at most.
    pub listeners: BTreeSet<SocketAddr>,
    /// It is about to end.
    pub ending: bool,
    /// It has stopped answering without a word, and the programs know; for explanations only.
    #[serde(skip)]
    pub silent: bool,
}

impl NodeDns {
    /// Whether the server stands in for a Service.
    pub fn stands_in_for(&self, service: &Service) -> bool {
        let usual = || self.services.is_empty() && (&*service.name.namespace, &*service.name.name) == USUAL;
        service.annotations.get(ANNOTATION).is_some_and(|value| **value == *"true")
            || service.cluster_ips.iter().any(|address| self.services.contains(address))
            || usual()
    }

    /// The listener that a port of a Service leads to, or led to until now.
    pub fn listener_for(
        &self,
        service: &Service,
        port: &ServicePort,
        family: AddressFamily,
    ) -> Option<SocketAddr> {
        let asked = port.port == PORT && port.protocol != Protocol::Sctp && self.stands_in_for(service);
        let listener = self.listeners.iter().find(|address| AddressFamily::of(address.ip()) == family);
        listener.copied().filter(|_| asked)
    }

    /// Makes the server the local list of a port that it stands in for, and the cluster list those endpoints
    /// that clients in the cluster get without it. Says whether it does.
    pub(crate) fn stand_in(
        &self,
        service: &Service,
        port: &ServicePort,
        family: AddressFamily,
        lists: &mut Port,
    ) -> bool {
        let Some(listener) = self.listener_for(service, port, family) else { return false };
        let target = Target {
            addr: listener.ip().into(),
            port: Be16::new(listener.port()),
            local: true,
            host: true,
            weight: 1,
        };
        if self.ending {
            lists.draining = lists.draining.iter().copied().chain([target]).collect();
            return false;
        }
        if service.internal_local() {
            std::mem::swap(&mut lists.cluster, &mut lists.local);
        }
        let replaced = std::mem::replace(&mut lists.local, [target].into());
        // Sockets that have another endpoint go on with it.
        let others = replaced.iter().filter(|target| !lists.cluster.contains(target));
        lists.draining = lists.draining.iter().chain(others).copied().collect();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use seaway_cluster::Snapshot;
    use seaway_common::SERVICE_STAND_IN;

    use super::*;
    use crate::desired::Desired;
    use crate::site::Site;

    const FACTS: &str = "\
{apiVersion: v1, kind: Service, metadata: {name: kube-dns, namespace: kube-system}, spec: {clusterIP: 10.96.0.10,
  clusterIPs: [10.96.0.10, 'fd96::10'], ports: [{name: dns, port: 53, protocol: UDP},
  {name: metrics, port: 9153}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, namespace: kube-system,
  labels: {kubernetes.io/service-name: kube-dns}}, addressType: IPv4,
  ports: [{name: dns, port: 53, protocol: UDP}, {name: metrics, port: 9153}],
  endpoints: [{addresses: [10.1.0.1]}]}
";

    /// Each port of IPv4: the cluster list, the local one where the server stands in, a bar, and those that
    /// old clients keep.
    fn lists(node_dns: NodeDns) -> Vec<String> {
        let (snapshot, warnings) = Snapshot::from_manifests(FACTS);
        assert_eq!(warnings, []);
        let desired = Desired::of(&snapshot, Site { node_dns, ..Site::from("n1") });
        let text = |list: &[Target]| {
            let places = list.iter().map(|it| format!("{}:{}", IpAddr::from(it.addr), it.port.get()));
            places.collect::<Vec<_>>().join(" ")
        };
        let v4 = desired.keys().filter(|key| key.family == AddressFamily::Ipv4);
        v4.filter_map(|key| Some((key, desired.port(key)?)))
            .map(|(key, port)| {
                let stood_in = port.claims.iter().any(|(_, flags)| *flags & SERVICE_STAND_IN != 0);
                let server = if stood_in { format!(" or {}", text(&port.local)) } else { String::new() };
                format!("{} {}{server}|{}", key.port, text(&port.cluster), text(&port.draining))
            })
            .collect()
    }

    fn server(services: &[&str], listener: &str, ending: bool) -> NodeDns {
        NodeDns {
            services: services.iter().map(|text| text.parse().unwrap()).collect(),
            listeners: [listener.parse().unwrap()].into(),
            ending,
            silent: false,
        }
    }

    #[test]
    fn the_node_s_own_server_takes_the_place_of_the_endpoints_of_port_53() {
        let away = ["dns 10.1.0.1:53|", "metrics 10.1.0.1:9153|"];
        let here = ["dns 10.1.0.1:53 or 192.0.2.1:9053|", "metrics 10.1.0.1:9153|"];
        assert_eq!(lists(NodeDns::default()), away);
        assert_eq!(lists(server(&[], "192.0.2.1:9053", false)), here);
        assert_eq!(lists(server(&["10.96.0.10"], "192.0.2.1:9053", false)), here);
        assert_eq!(lists(server(&["10.96.0.11"], "192.0.2.1:9053", false)), away);
        // A server of the other family alone leaves this one as it is.
        assert_eq!(lists(server(&[], "[2001:db8::1]:9053", false)), away);
        let ending = ["dns 10.1.0.1:53|192.0.2.1:9053", "metrics 10.1.0.1:9153|"];
        assert_eq!(lists(server(&[], "192.0.2.1:9053", true)), ending);
    }
}
