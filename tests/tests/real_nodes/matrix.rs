//! Firewalls and kernel settings make no difference.
//!
//! Each setting alone, then all together: families x TCP and UDP, fragments included x pod, virtual
//! machine, node, outside x pod of the node, node itself, pod of another node x policies x frontends.

use aya::programs::XdpMode;
use seaway_dataplane::programs::Programs;
use seaway_harness::{MemoryMaps, privileged};
use seaway_lab::{Firewall, Layout, Namespace, NodeSettings, Offload};
use seaway_tests::nodes::{Matrix, Nodes, balance_with_nftables, by_hand};

const ALONE: NodeSettings = NodeSettings::gentle("one setting at a time shows which of them matters");

/// What is set, and its name.
const SETTINGS: [(&str, NodeSettings); 8] = [
    ("nothing", ALONE),
    ("invalid dropped", NodeSettings { firewall: Firewall::DropInvalid, ..ALONE }),
    ("dropped by default", NodeSettings { firewall: Firewall::DropByDefault, ..ALONE }),
    ("strict reverse path", NodeSettings { reverse_path_filter: true, ..ALONE }),
    ("CNI masquerade", NodeSettings { masquerade: true, ..ALONE }),
    ("checksum offload", NodeSettings { offload: Offload::Deferred, ..ALONE }),
    (
        "bridge-nf-call-iptables",
        NodeSettings { firewall: Firewall::DropInvalid, bridge_netfilter: true, ..ALONE },
    ),
    ("hostile", NodeSettings::hostile()),
];

#[test]
fn firewalls_and_settings_make_no_difference_with_xdp() {
    privileged!();
    check(Layout::PointToPoint, By::Agent);
}

#[test]
fn firewalls_and_settings_make_no_difference_without_xdp() {
    privileged!();
    check(Layout::PointToPoint, By::AgentWithoutXdp);
}

#[test]
fn firewalls_and_settings_make_no_difference_to_bridged_pods() {
    privileged!();
    check(Layout::Bridge, By::Agent);
}

/// The control: the kernel's own translation passes the same table.
#[test]
fn the_kernels_own_translation_passes_the_same_table() {
    privileged!();
    check(Layout::PointToPoint, By::Nftables);
    check(Layout::Bridge, By::Nftables);
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Agent,
    AgentWithoutXdp,
    Nftables,
}

#[track_caller]
fn check(layout: Layout, by: By) {
    let mut nodes = Nodes::new(layout, &ALONE, by_hand(layout));
    // Another program in its place keeps XDP from the agent.
    let _occupied = (by == By::AgentWithoutXdp).then(|| occupy_xdp(nodes.n1(), layout.uplink()));
    let _agent = match by {
        By::Nftables => {
            balance_with_nftables(&nodes);
            None
        }
        By::Agent | By::AgentWithoutXdp => Some(nodes.start()),
    };
    let mut wrong = String::new();
    for (name, settings) in SETTINGS {
        // The kernel translates what pods of one bridge send each other only where this is set.
        let bridge_netfilter = settings.bridge_netfilter || by == By::Nftables;
        let settings = NodeSettings { bridge_netfilter, ..settings };
        nodes.network.apply(&settings).unwrap_or_else(|error| panic!("{name}: {error}"));
        let matrix = if by == By::Nftables { Matrix::masqueraded(&nodes) } else { Matrix::new(&nodes) };
        let (asked, failures) = matrix.ask();
        println!("{layout:?}, {by:?}, {name}: {} of {asked} not right", failures.len());
        for failure in &failures {
            wrong += &format!("{layout:?}, {by:?}, {name}: {failure}\n");
        }
        if !failures.is_empty() {
            wrong += &nodes.network.nodes[0].firewall_counters();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(crate) fn occupy_xdp(node: &Namespace, link: &str) -> Programs {
    let probe = seaway_dataplane::probe::Probe::run().expect("a probe of the kernel");
    let mut programs = Programs::load(&probe, &MemoryMaps::CAPACITIES, None).expect("programs");
    let xdp = programs.xdp().expect("a program");
    node.run(|| xdp.attach(link, XdpMode::Driver).map(drop)).expect("the namespace").expect("a free place");
    programs
}
