//! From what is asked for to what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, bail};
use seaway_cluster::Snapshot;
use seaway_dataplane::links::{Device, Links};
use seaway_dataplane::node_interfaces::{
    self, Choice, L3_REASON, L3_SUPPORTED, Role, all_pods_behind, ports_of,
};
use seaway_dataplane::pod_network::PodNetwork;

use super::Interfaces;

/// What both flags ask for, and what is known of the node.
#[derive(Debug)]
pub(in crate::agent) struct Selection {
    pub(in crate::agent) node: Interfaces,
    pub(in crate::agent) pods: Interfaces,
    network: PodNetwork,
    links: Arc<Links>,
}

/// The interfaces that programs are to be attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Selected {
    /// Those that traffic from outside arrives by.
    pub(in crate::agent) node: BTreeSet<String>,
    /// Those that lead to pods.
    pub(in crate::agent) pods: BTreeSet<String>,
    /// All that are there, each with the reason.
    pub(in crate::agent) choices: Vec<Choice>,
    /// `auto` found an interface for every pod that is known.
    pub(in crate::agent) pods_found: bool,
}

impl Selection {
    pub(in crate::agent) fn new(node: Interfaces, pods: Interfaces, network: PodNetwork) -> Self {
        Self { node, pods, network, links: Arc::default() }
    }

    /// Takes note of the node's interfaces.
    pub(in crate::agent) fn note_links(&mut self, links: &Arc<Links>) {
        self.links = Arc::clone(links);
    }

    /// Takes note of the facts. Whether they change what may be selected.
    pub(in crate::agent) fn note_facts(&mut self, facts: &Arc<Snapshot>, node: &str) -> bool {
        self.network.follow(facts, node) && (self.node.auto || self.pods.auto)
    }

    /// The node's interfaces, as they were noted last.
    pub(in crate::agent) fn links(&self) -> &Links {
        &self.links
    }

    /// Refuses interfaces by name that the programs cannot serve.
    ///
    /// # Errors
    /// The first one, by name.
    pub(in crate::agent) fn refuse_unsupported(&self) -> Result<()> {
        for interfaces in [&self.node, &self.pods] {
            for name in interfaces.named() {
                let found = self.links.named(name).map(|(_, device)| device);
                if let Some(device) = found.filter(|device| is_unsupported(device)) {
                    let (flag, kind) = (interfaces.flag, &device.kind);
                    bail!("{flag} {name}: {L3_REASON} (it is a {kind} device); leave it out");
                }
            }
        }
        Ok(())
    }

    /// Those that are asked for by name, and those of a pattern, a bridge or `auto` that are there now. What is
    /// named counts more than what is found; no interface is both the node's and a pod's.
    pub(in crate::agent) fn select(&self) -> Selected {
        let named_node = self.asked_for(&self.node);
        let named_pods = self.with_ports(self.asked_for(&self.pods));
        let found = match self.node.auto || self.pods.auto {
            true => node_interfaces::find(&self.links, &self.network),
            false => Vec::new(),
        };
        let mut choices: BTreeMap<String, Choice> = BTreeMap::new();
        let mut choose = |interface: &String, role, reason: &String| {
            let choice = Choice { interface: interface.clone(), role, reason: reason.clone() };
            choices.entry(interface.clone()).or_insert(choice);
        };
        for (interface, reason) in &named_node {
            choose(interface, Role::Node, reason);
        }
        for (interface, reason) in &named_pods {
            choose(interface, Role::Pod, reason);
        }
        for Choice { interface, role, reason } in &found {
            let wanted = match role {
                Role::Node => self.node.auto,
                Role::Pod => self.pods.auto,
                Role::None => true,
            };
            let role = if wanted { *role } else { Role::None };
            choose(interface, role, reason);
        }
        let unsupported = |choice: &Choice| {
            self.links.named(&choice.interface).is_some_and(|(_, device)| is_unsupported(device))
        };
        for choice in choices.values_mut().filter(|choice| choice.role != Role::None) {
            if unsupported(choice) {
                *choice = Choice { role: Role::None, reason: L3_REASON.to_owned(), ..choice.clone() };
            }
        }
        let all = |role: Role| -> BTreeSet<String> {
            choices.values().filter(|it| it.role == role).map(|it| it.interface.clone()).collect()
        };
        let (node, pods) = (all(Role::Node), all(Role::Pod));
        let pods_found = self.pods.auto && all_pods_behind(&self.links, &self.network, &pods);
        Selected { node, pods, choices: choices.into_values().collect(), pods_found }
    }

    /// Names, each with why.
    fn asked_for(&self, interfaces: &Interfaces) -> BTreeMap<String, String> {
        let present = self.links.devices.values().map(|device| &device.name);
        let all = interfaces.named().iter().chain(present);
        all.filter_map(|name| Some((name.clone(), interfaces.asks_for(name)?))).collect()
    }

    /// The ports of bridges instead of the bridges: what pods send one another does not pass the bridge itself.
    fn with_ports(&self, asked: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, reason) in asked {
            let bridge = self.links.named(&name).filter(|(_, device)| device.kind == "bridge");
            let Some((index, _)) = bridge else {
                all.insert(name, reason);
                continue;
            };
            for port in ports_of(&self.links, index) {
                all.insert(port.name.clone(), format!("port of bridge {name}, {reason}"));
            }
        }
        all
    }
}

fn is_unsupported(device: &Device) -> bool {
    !device.ethernet && !L3_SUPPORTED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Arc<Links> {
        let device = |name: &str, kind: &str, master: Option<u32>| Device {
            name: name.into(),
            kind: kind.into(),
            master,
            ethernet: kind != "tun",
            foreign_peer: kind == "veth",
            ..Device::default()
        };
        let devices = [
            (1, device("eth0", "", None)),
            (2, device("cni0", "bridge", None)),
            (3, device("veth1", "veth", Some(2))),
            (4, device("tun0", "tun", None)),
            (5, device("eth1", "", Some(2))),
        ];
        Arc::new(Links { devices: devices.into(), ..Links::default() })
    }

    fn selection(node: &[&str], pods: &[&str]) -> Selection {
        let parse = |flag, texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            Interfaces::parse(flag, &texts).unwrap()
        };
        let (node, pods) = (parse("--interface", node), parse("--pod-interface", pods));
        let mut selection = Selection::new(node, pods, PodNetwork::default());
        selection.note_links(&links());
        selection
    }

    #[track_caller]
    fn check(node: &[&str], pods: &[&str], expected_node: &[&str], expected_pods: &[&str]) {
        let selected = selection(node, pods).select();
        assert!(selected.node.iter().eq(expected_node), "{selected:?}");
        assert!(selected.pods.iter().eq(expected_pods), "{selected:?}");
    }

    #[test]
    fn a_pattern_means_what_is_there_and_a_name_itself() {
        check(&["eth0"], &[], &["eth0"], &[]);
        check(&["e*", "gone0"], &[], &["eth0", "eth1", "gone0"], &[]);
        check(&["no-such-*"], &["v?th1"], &[], &["veth1"]);
        check(&["none"], &["none"], &[], &[]);
    }

    #[test]
    fn a_bridge_of_pods_means_its_ports_and_one_of_the_node_itself() {
        check(&[], &["cni0"], &[], &["veth1"]);
        check(&["cni0"], &[], &["cni0"], &[]);
        check(&["eth1"], &["cni?"], &["eth1"], &["veth1"]);
    }

    #[test]
    fn what_is_named_is_not_found_as_something_else() {
        check(&["veth1"], &["cni0"], &["veth1"], &[]);
        check(&["auto", "eth0"], &["auto"], &["eth0"], &[]);
    }

    #[test]
    fn devices_without_ethernet_are_refused_by_name_and_left_out_of_patterns() {
        assert!(selection(&["eth0", "e*"], &["cni0"]).refuse_unsupported().is_ok());
        let refused = selection(&["tun0"], &[]).refuse_unsupported().unwrap_err().to_string();
        assert!(refused.contains("--interface tun0") && refused.contains(L3_REASON), "{refused}");
        check(&["t*"], &[], &[], &[]);
        let choices = selection(&["t*"], &[]).select().choices;
        assert_eq!(
            choices,
            [Choice { interface: "tun0".into(), role: Role::None, reason: L3_REASON.into() }]
        );
    }
}
