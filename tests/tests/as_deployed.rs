//! The agent as `deploy/` starts it: its arguments, on every layout that clusters have.
//!
//! Only what has to differ in a lab is another: where pins, the status and the cgroup are, the source of
//! facts and the node's name.

#![forbid(unsafe_code)]

#[path = "as_deployed/arguments.rs"]
mod arguments;

use seaway_harness::{AgentSetup, privileged};
use seaway_lab::{Layout, NodeSettings};
use seaway_tests::nodes::{Matrix, NAME, Nodes};

#[track_caller]
fn check(layout: Layout) {
    let none: [&str; 0] = [];
    let setup = AgentSetup::new(none).arguments(arguments::deployed()).arguments(NAME);
    let nodes = Nodes::new(layout, &NodeSettings::hostile(), setup);
    let mut agent = nodes.start();
    let (asked, failures) = Matrix::new(&nodes).ask();
    println!("{layout:?}: {} of {asked} not right", failures.len());
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert!(
        failures.is_empty(),
        "{}\n{}{:?}",
        failures.join("\n"),
        nodes.network.nodes[0].firewall_counters(),
        agent.status().warnings,
    );
}

#[test]
fn everybody_is_served_with_pods_linked_point_to_point() {
    privileged!();
    check(Layout::PointToPoint);
}

#[test]
fn everybody_is_served_with_pods_on_a_bridge() {
    privileged!();
    check(Layout::Bridge);
}

#[test]
fn everybody_is_served_over_vxlan() {
    privileged!();
    check(Layout::Vxlan);
}

#[test]
fn everybody_is_served_with_two_uplinks() {
    privileged!();
    check(Layout::TwoUplinks);
}

#[test]
fn everybody_is_served_with_a_vlan_as_uplink() {
    privileged!();
    check(Layout::VlanUplink);
}
