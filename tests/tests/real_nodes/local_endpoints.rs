//! Endpoints on the node that is asked, with the flags that a deployment has.

use std::net::SocketAddr;

use seaway_harness::{AgentSetup, privileged};
use seaway_lab::{Layout, NodeSettings, Offload, probe::Transport};
use seaway_tests::nodes::{
    Endpoint, Frontend, NAME, Nodes, Policy, Service,
    case::{Case, DNS, From, NODE_DNS, NODE_WEB, WEB, node_port, vip},
};

/// Seen by Kubernetes' own e2e suite with `--interface 'e*'`: 20 of 20 requests failed.
fn check_without_pod_interface(layout: Layout) {
    let setup = AgentSetup::new(["e*"]).arguments(NAME);
    let nodes = Nodes::new(layout, &NodeSettings::hostile(), setup);
    let _agent = nodes.start();
    let service = Service { endpoint: Endpoint::LocalPod, policy: Policy::Cluster };
    for family in 0..2 {
        for frontend in [Frontend::NodePort, Frontend::LoadBalancer] {
            for (transport, is_tcp) in [(Transport::Exchange, true), (Transport::Udp, false)] {
                let to = service.address(frontend, family, is_tcp);
                let probe = seaway_tests::network::question(transport, to);
                let ask = || seaway_lab::probe::Prober::default().ask(&probe);
                for _ in 0..20 {
                    let outcome = nodes.network.client.run(ask).unwrap();
                    assert_eq!(outcome.name(), Some("local"), "{layout:?} {transport:?} {to}: {outcome:?}");
                }
            }
        }
    }
}

#[test]
fn row_local_endpoint_ptp() {
    privileged!();
    check_without_pod_interface(Layout::PointToPoint);
}

#[test]
fn row_local_endpoint_bridge() {
    privileged!();
    check_without_pod_interface(Layout::Bridge);
}

/// As kind and k3d look: the uplink is a veth whose checksums are left undone.
#[test]
fn row_faults_topo_tx_on() {
    privileged!();
    for offload in [Offload::Deferred, Offload::Full, Offload::Wire] {
        let why = "the report is about checksums alone; the matrix has the rest";
        let case = Case::with(NodeSettings { offload, ..NodeSettings::gentle(why) }, &[1]);
        let _agent = case.start();
        for family in 0..2 {
            for port in [node_port(family, NODE_WEB), vip(family, WEB)] {
                case.check_served(From::Client, Transport::Exchange, port);
            }
            for port in [node_port(family, NODE_DNS), vip(family, DNS)] {
                let to: SocketAddr = port;
                case.check_served(From::Client, Transport::Udp, to);
            }
        }
    }
}
