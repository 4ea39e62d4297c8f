//! Nodes as people run them, and what `auto` makes of their interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::links::{Address, MAIN};

/// A node, in lines: `NAME KIND [on MASTER] [ADDRESS/LENGTH]...` for a device, where `veth` has its other end in
/// another namespace and `veth-here` in this one, and `route DESTINATION [via GATEWAY] NAME` for a route.
fn node(text: &str) -> Links {
    let mut links = Links::default();
    let index = |name: &str| {
        u32::try_from(
            text.lines()
                .position(|line| line.trim().starts_with(&format!("{name} ")))
                .unwrap_or_else(|| panic!("{name}")),
        )
        .unwrap()
    };
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, kind, rest @ ..] = words.as_slice() else { continue };
        if *name == "route" {
            let destination = if *kind == "default" { "0.0.0.0/0" } else { kind };
            let gateway = (rest[0] == "via").then(|| rest[1].parse().unwrap());
            let device = index(rest.last().unwrap());
            let destination = destination.parse().unwrap();
            links.routes.push(Route { table: MAIN, destination, device, gateway, source: None });
            continue;
        }
        let master = rest.iter().position(|word| *word == "on").map(|at| index(rest[at + 1]));
        let nets = rest.iter().filter_map(|word| word.parse::<IpNet>().ok());
        let addresses: Vec<Address> = nets.map(|net| Address { net, source: true }).collect();
        links.addresses.extend(addresses.iter().map(|it| it.net.addr()));
        links.routes.extend(addresses.iter().filter(|it| is_network(&it.net)).map(|it| Route {
            table: MAIN,
            destination: it.net.trunc(),
            device: u32::try_from(at).unwrap(),
            gateway: None,
            source: Some(it.net.addr()),
        }));
        let device = Device {
            name: (*name).to_owned(),
            kind: kind.replace("hardware", "").replace("-here", "").replace("tap", "tun"),
            foreign_peer: *kind == "veth",
            parent: (*kind == "veth-here").then_some(1),
            ethernet: !["tun", "wireguard", "ipip"].contains(kind),
            loopback: *name == "lo",
            master,
            addresses,
            ..Device::default()
        };
        links.devices.insert(u32::try_from(at).unwrap(), device);
    }
    links
}

/// The pods of a node: `range R`, `cluster R`, `pod A` and `node A`.
fn network(text: &str) -> PodNetwork {
    let mut network = PodNetwork::default();
    let words: Vec<&str> = text.split_whitespace().collect();
    for pair in words.chunks(2) {
        match pair[0] {
            "range" => network.ranges.push(pair[1].parse().unwrap()),
            "cluster" => network.clusters.push(pair[1].parse().unwrap()),
            "pod" => _ = network.addresses.insert(pair[1].parse().unwrap()),
            _ => network.node.push(pair[1].parse::<IpAddr>().unwrap()),
        }
    }
    network
}

#[track_caller]
fn check(pods: &str, text: &str, nodes: &str, ends: &str) {
    let choices = find(&node(text), &network(pods));
    let all = |role: Role| {
        let names = choices.iter().filter(|choice| choice.role == role);
        names.map(|choice| choice.interface.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((all(Role::Node), all(Role::Pod)), (nodes.to_owned(), ends.to_owned()), "{choices:#?}");
    assert!(choices.iter().all(|choice| choice.interface != "lo" && !choice.reason.is_empty()));
}

const PTP: &str = "lo hardware 127.0.0.1/8
    eth0 hardware 192.168.1.10/24
    cali1 veth
    cali2 veth 10.1.1.1/32
    route default via 192.168.1.1 eth0
    route 10.1.1.111/32 cali1
    route 10.1.1.112/32 cali2
    route 10.1.2.0/24 via 192.168.1.11 eth0";

#[test]
fn pods_that_are_routed_to_one_by_one() {
    for facts in ["cluster 10.1.0.0/16", "range 10.1.1.0/24", "pod 10.1.1.111 pod 10.1.1.112", ""] {
        check(facts, PTP, "eth0", "cali1 cali2");
    }
    check("range 10.1.1.0/24", &PTP.replace("hardware 192", "veth 192"), "eth0", "cali1 cali2");
    check("", &PTP.replace("route 10.1.1.112/32 cali2", ""), "eth0", "cali1");
    check("", &PTP.replace("cali1 veth", "cali1 tap"), "eth0", "cali1 cali2");
    check("", &PTP.replace("cali1 veth", "cali1 netkit").replace("netkit", "veth"), "eth0", "cali1 cali2");
    let subnet = "eth0 veth 192.0.2.1/24
        veth1 veth 10.1.1.1/24";
    check("pod 10.1.1.2", subnet, "eth0", "veth1");
    check("cluster 10.1.0.0/16", subnet, "eth0", "veth1");
    let networks = "ext0 veth 192.0.2.1/24
        pod1 veth
        route 10.1.2.0/24 via 192.0.2.11 ext0
        route fd00:1:2::/48 via fe80::2 pod1";
    check("cluster 10.1.0.0/16 range fd00:1:2::/48", networks, "ext0", "pod1");
}

#[test]
fn a_veth_is_the_nodes_where_its_routes_or_address_say_so() {
    let kind = "eth0 veth 172.18.0.2/16
        veth1 veth 10.244.0.1/32
        route default via 172.18.0.1 eth0
        route 172.18.0.1/32 eth0
        route 10.244.0.5/32 veth1";
    check("range 10.244.0.0/24 node 172.18.0.2", kind, "eth0", "veth1");
    check("", kind, "eth0", "veth1");
    check("", "ext0 veth 192.0.2.1/24", "ext0", "");
    check("node 192.0.2.1", "ext0 veth 192.0.2.1/32\n route 192.0.2.9/32 ext0", "ext0", "");
}

const BRIDGE: &str = "eth0 hardware 192.168.1.10/24
    cni0 bridge 10.1.1.1/24
    docker0 bridge 172.17.0.1/16
    veth1 veth on cni0
    veth2 veth on cni0
    vethd veth on docker0
    route default via 192.168.1.1 eth0";

#[test]
fn pods_on_a_bridge_are_its_ports_and_other_containers_are_none() {
    check("cluster 10.1.0.0/16", BRIDGE, "eth0", "veth1 veth2");
    check("range 10.1.1.0/24", BRIDGE, "eth0", "veth1 veth2");
    check("pod 10.1.1.7", BRIDGE, "eth0", "veth1 veth2");
    check("", BRIDGE, "eth0", "");
    check("pod 10.1.1.1", BRIDGE, "eth0", "");
}

#[test]
fn a_bridge_that_is_the_way_out_is_taken_itself() {
    let uplink = "eth0 hardware on br0
        br0 bridge 192.168.1.10/24
        tap0 tap on br0
        veth1 veth on br0
        route default via 192.168.1.1 br0";
    check("", uplink, "br0", "");
    check("node 192.168.1.10", &uplink.replace("route default via 192.168.1.1 br0", ""), "br0", "");
    check("", &uplink.replace("route default via 192.168.1.1 br0", ""), "br0", "");
    check("pod 192.168.1.77", uplink, "br0", "tap0 veth1");
}

#[test]
fn tunnels_with_ethernet_are_the_nodes() {
    let flannel = format!(
        "{BRIDGE}
    flannel.1 vxlan 10.1.1.0/32
    route 10.1.2.0/24 via 10.1.2.0 flannel.1"
    );
    check("range 10.1.1.0/24", &flannel, "eth0 flannel.1", "veth1 veth2");
    check("", "eth0 hardware\n vx0 vxlan\n route 10.1.2.0/24 vx0", "vx0", "");
}

#[test]
fn tunnels_without_ethernet_are_left_out_with_a_reason() {
    for kind in ["tun", "wireguard", "ipip"] {
        let text = format!(
            "eth0 hardware 192.168.1.10/24
            tunl0 {kind} 10.8.0.1/24
            route 10.1.2.0/24 tunl0
            route default via 192.168.1.1 eth0"
        );
        check("cluster 10.1.0.0/16", &text, "eth0", "");
        let choices = find(&node(&text), &network(""));
        assert!(choices.iter().any(|it| it.interface == "tunl0" && it.reason.starts_with(L3_REASON)));
    }
}

#[test]
fn uplinks_of_every_kind() {
    check("", "eth0 hardware 192.168.1.10/24\n eth1 hardware 10.50.0.1/24\n eth2 hardware", "eth0 eth1", "");
    let bond = "eth0 hardware on bond0
        eth1 hardware on bond0
        bond0 bond 192.168.1.10/24
        bond0.7 vlan 10.7.0.1/24
        route default via 192.168.1.1 bond0";
    check("", bond, "bond0 bond0.7", "");
    let vlan = "eth0 hardware
        eth0.100 vlan 192.168.1.10/24
        route default via 192.168.1.1 eth0.100";
    check("", vlan, "eth0.100", "");
    check("", &vlan.replace("eth0 hardware", "eth0 hardware 10.9.0.1/24"), "eth0 eth0.100", "");
    let vrf = "blue vrf
        eth0 hardware on blue 192.168.1.10/24
        nodelocaldns dummy 169.254.20.10/32
        kube-ipvs0 dummy 10.96.0.1/32";
    check("", vrf, "eth0", "");
    check("", "eth0 hardware 10.128.0.2/32\n route default via 10.128.0.1 eth0", "eth0", "");
    check("", "eth0 hardware 169.254.1.1/16\n eth1 hardware fe80::1/64", "", "");
    check("", "eth0 hardware 2001:db8::1/64", "eth0", "");
}

#[test]
fn programs_that_route_to_pods_by_themselves() {
    let cilium = "eth0 hardware 192.168.1.10/24
        cilium_net veth-here
        cilium_host veth-here 10.1.1.1/32
        lxc1 veth
        vethd veth 10.200.0.1/24
        route default via 192.168.1.1 eth0
        route 10.1.1.0/24 via 10.1.1.1 cilium_host
        route 10.1.2.0/24 via 10.1.1.1 cilium_host";
    check("range 10.1.1.0/24", cilium, "eth0 cilium_host vethd", "lxc1");
    check("pod 10.1.1.9", cilium, "eth0 cilium_host vethd", "lxc1");
    check("", cilium, "eth0 cilium_host vethd", "");
    let endpoint_routes = format!("{cilium}\n route 10.1.1.9/32 lxc1");
    check("", &endpoint_routes, "eth0 cilium_host vethd", "lxc1");
}

#[test]
fn only_the_ports_of_a_bridge_stand_for_it() {
    let links = node(&BRIDGE.replace("eth0 hardware", "eth0 hardware on cni0"));
    let (cni0, _) = links.named("cni0").unwrap();
    let ports: Vec<&str> = ports_of(&links, cni0).map(|device| device.name.as_str()).collect();
    assert_eq!(ports, ["veth1", "veth2"]);
}

#[test]
fn facts_are_looked_at_for_this_node_only() {
    let mut network = PodNetwork::default();
    assert!(!network.follow(&Arc::default(), "n1"));
    assert!(network.addresses.is_empty());
}

#[test]
fn sockets_leave_a_choice_to_packets_only_where_all_pods_pass_a_program() {
    #[track_caller]
    fn check(pods: &str, text: &str, expected: bool) {
        let (links, network) = (node(text), network(pods));
        let ends = find(&links, &network).into_iter().filter(|choice| choice.role == Role::Pod);
        let ends = ends.map(|choice| choice.interface).collect();
        assert_eq!(all_pods_behind(&links, &network, &ends), expected, "{ends:?}");
    }
    check("", "eth0 hardware 192.168.1.10/24", false);
    check("pod 10.1.1.111 pod 10.1.1.112 pod 192.168.1.10", PTP, true);
    check("pod 10.1.1.111 pod 192.168.1.77", PTP, false);
    check("pod 10.1.1.7 pod 10.1.1.8", BRIDGE, true);
}
