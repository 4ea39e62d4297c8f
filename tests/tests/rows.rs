//! The rows of the feature table that recorded and own cases prove, with real sockets: a client beside
//! the node, pods on the node and on another one, both families.

#![forbid(unsafe_code)]

use seaway_harness::privileged;
use seaway_tests::{data, reachability::Cases};

const RECORDED: &str = "reachability";
const OWN: &str = "rows";

#[track_caller]
fn check(folder: &str, ids: &[&str]) {
    let cases = Cases::read(&data::path(folder)).with_ids(ids);
    let report = cases.replay(1);
    report.print();
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

macro_rules! rows {
    ($($name:ident: $folder:ident [$($id:literal),* $(,)?];)*) => {$(
        #[test]
        fn $name() {
            privileged!();
            check($folder, &[$($id),*]);
        }
    )*};
}

rows! {
    row_03_node_ports_reach_local_and_remote_endpoints: RECORDED [
        "nodeport-basic", "nodeport-udp", "nodeport-secondary-address", "nodeport-unused-port",
    ];
    row_04_load_balancers_and_external_addresses_are_served: RECORDED [
        "lb-vip", "lb-vip-udp-v6", "lb-proxy-mode-v6", "lb-hostname-only", "external-ips-v6", "external-ips-local",
    ];
    row_05_a_service_may_change_its_type: RECORDED ["type-change"];
    row_06_a_host_port_belongs_to_a_protocol_and_an_address: OWN ["host-port"];
    row_07_a_client_stays_with_its_endpoint: RECORDED [
        "affinity-clientip-v6", "affinity-timeout-v6", "affinity-switched-on", "affinity-across-addresses",
    ];
    row_08_external_policy_local_keeps_the_source_and_the_node: RECORDED [
        "etp-local-with-local-v6", "etp-local-only-remote-v6", "etp-local-udp-v6",
    ];
    row_09_internal_policy_local_keeps_the_node: RECORDED ["itp-local-with-local-v6", "itp-local-only-remote-v6"];
    row_10_terminating_endpoints_serve_where_no_other_does: RECORDED [
        "terminating-fallback-cluster", "terminating-fallback-local-v6", "terminating-not-serving",
    ];
    row_11_health_check_port_tells_of_local_endpoints: RECORDED ["hcnp"];
    row_12_service_without_endpoints_refuses: RECORDED [
        "no-endpoints-tcp-v6", "no-endpoints-udp-v6", "nodeport-no-endpoints", "lb-no-endpoints",
    ];
    row_13_undefined_ports_refuse_and_unallocated_addresses_drop: RECORDED [
        "clusterip-undefined-port", "unallocated-service-ip",
    ];
    row_14_hints_keep_traffic_near: RECORDED ["hints-zone-v6", "hints-node-fallback-zone", "hints-removed"];
    row_15_source_ranges_let_their_clients_in_alone: RECORDED [
        "source-ranges-client", "source-ranges-udp", "source-ranges-other-family", "source-ranges-pod-node",
    ];
    row_16_both_families_are_served: RECORDED ["clusterip-multiport-v6", "etp-local-no-endpoints-v6"];
    row_18_an_endpoint_reaches_itself_through_its_service: RECORDED ["hairpin", "hairpin-udp", "hairpin-mixed"];
    row_19_a_pods_address_is_kept: RECORDED ["clusterip-basic", "clusterip-udp-basic", "clusterip-from-remote-pod"];
    row_20_udp_flows_leave_endpoints_that_are_gone: RECORDED [
        "udp-flow-endpoint-replaced-v6", "udp-flow-scale-to-zero-v6", "udp-flow-from-zero-v6",
        "udp-flow-nodeport", "udp-before-service-clusterip",
    ];
    row_22_node_ports_are_served_on_loopback: OWN ["node-port-loopback"];
    row_24_foreign_and_headless_objects_are_left_alone: RECORDED ["service-proxy-name-ignored", "headless-ignored"];
    row_27_maglev_follows_weights: OWN ["maglev-weights"];
    row_32_datagrams_in_fragments_arrive: RECORDED ["udp-large-datagram"];
    row_37_every_algorithm_uses_every_endpoint: OWN [
        "algorithm-round-robin", "algorithm-least-connections", "algorithm-random", "algorithm-maglev",
    ];
    row_37_source_hash_keeps_a_client_on_every_frontend: OWN ["algorithm-source-hash"];
}
