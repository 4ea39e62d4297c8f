//! Seaway beside nftables rules of kube-proxy's shape, with real sockets.

#![forbid(unsafe_code)]

use seaway_harness::privileged;
use seaway_tests::reachability::compare;

const SERVICES: &str = include_str!("../data/differential/services.json");

/// Every kind of frontend and policy, TCP and UDP, both families, asked from outside, from pods of both
/// nodes and from the node.
#[test]
fn the_same_clients_reach_the_same_endpoints_as_with_nftables() {
    privileged!();
    let list: serde_json::Value = serde_json::from_str(SERVICES).expect("a manifest");
    let objects = list["items"].as_array().expect("a list");
    let comparison = compare(objects);
    println!("{} questions, {} answered", comparison.questions, comparison.answered);
    assert!(comparison.answered > comparison.questions / 2, "{comparison:?}");
    assert!(comparison.differences.is_empty(), "{}", comparison.differences.join("\n"));
}
