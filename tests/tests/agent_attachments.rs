//! An agent and what becomes of its attachments: interfaces that go and come, pins and programs that somebody
//! takes away. What is not attached is said, and is attached within two seconds of the chance to.

#![forbid(unsafe_code)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use seaway_harness::{Agent, privileged, seaway_binary, skip, test_name, wait_for};
use seaway_lab::{
    AgentStatus, End, Route, Topology, Veth,
    probe::{ProbeProcess, Transport},
};
use seaway_tests::network::{ECHO_TCP, Network, Path, ask, question, vip};

const PATIENCE: Duration = Duration::from_secs(30);
/// Netlink and the absence of a pin tell so soon.
const SOON: Duration = Duration::from_secs(2);
const HEALTHZ: u16 = 10256;

/// What `seaway status` says of the network's agent.
fn status(network: &Network) -> String {
    let output = Command::new(seaway_binary())
        .args(["status", "--pin-dir", network.setup.pin_dir().to_str().unwrap(), "--run-dir"])
        .arg(network.setup.run_dir())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn in_sync(network: &Network) -> bool {
    status(network).contains("in sync")
}

fn healthz(network: &Network) -> u16 {
    network.get(HEALTHZ, "/healthz").expect("the health port").0
}

fn livez(network: &Network) -> u16 {
    network.get(HEALTHZ, "/livez").expect("the health port").0
}

/// The node's link to the client, as the topology makes it.
fn connect(network: &Network, name: &str) {
    let (node, client) = (network.topology.node.namespace(), &network.topology.client);
    let on = |address: std::net::IpAddr| {
        ipnet::IpNet::new_assert(address, if address.is_ipv4() { 24 } else { 64 })
    };
    let near = End::new(node, name).addresses(Topology::NODE.map(on));
    Veth::new(near, End::new(client, "eth0").addresses(Topology::CLIENT.map(on))).connect().unwrap();
    for gateway in Topology::NODE {
        client.add_route(&Route::default_via(gateway)).unwrap();
    }
}

/// A client outside is answered.
fn check_served(prober: &mut ProbeProcess) {
    ask(prober, &question(Transport::Tcp, vip(0, ECHO_TCP)));
}

fn warns(agent: &mut Agent, what: &str, part: &str) -> AgentStatus {
    agent.wait(what, |status| status.warnings.iter().any(|warning| warning.contains(part)))
}

#[test]
fn named_interface_that_is_deleted_and_made_again_is_served_again() {
    privileged!();
    let network = Network::new(&[0]);
    let mut agent = network.start();
    let mut prober = network.prober(Path::Xdp);
    check_served(&mut prober);
    assert!(in_sync(&network), "{}", status(&network));
    assert_eq!(healthz(&network), 200);

    network.topology.node.namespace().delete_link(Topology::CLIENT_INTERFACE).unwrap();
    warns(&mut agent, "a warning", "tc_egress, tc_ingress, xdp_lb are not attached to interface ext0");
    assert!(!in_sync(&network), "{}", status(&network));
    assert_eq!((healthz(&network), livez(&network)), (503, 200));

    connect(&network, Topology::CLIENT_INTERFACE);
    let made = Instant::now();
    agent.wait("no warning", |status| status.warnings.is_empty());
    assert!(made.elapsed() < SOON, "attached again after {:?}", made.elapsed());
    check_served(&mut prober);
    assert!(in_sync(&network));
    assert_eq!(healthz(&network), 200);
}

/// A restart does not ask for more than the start before it had: where programs are at work, they stay.
#[test]
fn named_interface_that_lacks_after_a_restart_is_waited_for() {
    privileged!();
    let network = Network::new(&[0]);
    assert!(network.start().terminate().success());
    network.topology.node.namespace().delete_link(Topology::CLIENT_INTERFACE).unwrap();
    let mut agent = network.start();
    warns(&mut agent, "a warning", "there is no such interface");
    let mut socket = network.prober(Path::Socket);
    check_served(&mut socket);
    assert!(!in_sync(&network), "{}", status(&network));
    connect(&network, Topology::CLIENT_INTERFACE);
    agent.wait("no warning", |status| status.warnings.is_empty());
    check_served(&mut network.prober(Path::Xdp));
}

#[test]
fn links_folder_that_is_removed_comes_back() {
    privileged!();
    let network = Network::new(&[0]);
    let mut agent = network.start();
    let mut probers = [Path::Socket, Path::Xdp].map(|path| network.prober(path));
    let links = network.setup.pin_dir().join("links");
    let count = || fs::read_dir(&links).map_or(0, Iterator::count);
    let all = count();
    fs::remove_dir_all(&links).unwrap();
    let removed = Instant::now();
    wait_for("all pins", PATIENCE, || count() == all);
    wait_for("being in sync", PATIENCE, || in_sync(&network));
    assert!(removed.elapsed() < SOON + SOON, "in sync again after {:?}", removed.elapsed());
    probers.iter_mut().for_each(check_served);
    assert!(agent.status().warnings.is_empty());
}

/// Until the audit finds it the agent knows nothing, and `status` does.
#[test]
fn status_says_what_was_detached_before_the_agent_knows() {
    privileged!();
    let network = Network::new(&[0]);
    let _agent = network.start();
    let pin = network.setup.pin_dir().join("links/sock_connect4");
    let detached = Command::new("bpftool").args(["link", "detach", "pinned"]).arg(pin).output();
    if !detached.is_ok_and(|output| output.status.success()) {
        return skip(&test_name(module_path!()), "needs bpftool");
    }
    let said = status(&network);
    assert!(!said.contains("in sync"), "{said}");
    assert!(said.contains("sock_connect4 is not attached to the cgroup: its link was detached"), "{said}");
}

/// A cgroup that another owner has for itself: refused by name, with nothing left behind.
#[test]
fn exclusive_program_of_the_cgroup_is_named_and_a_refused_start_leaves_nothing() {
    privileged!();
    let network = Network::new(&[0]);
    // The other owner's program is one of ours, from pins of its own.
    let agent = network.start();
    agent.kill();
    let pins = network.setup.pin_dir();
    let other = beside(&network, "other");
    let cgroup = network.setup.cgroup().to_str().unwrap();
    let tool = |arguments: &[&str]| {
        let output = Command::new("bpftool").args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    let program = other.to_str().unwrap();
    let pinned = program_of(&pins.join("links/sock_connect4"))
        .is_some_and(|id| tool(&["prog", "pin", "id", &id.to_string(), program]));
    let cleaned = Command::new(seaway_binary()).args(["agent", "--cleanup", "--pin-dir"]).arg(pins).output();
    assert!(cleaned.unwrap().status.success());
    if !pinned {
        return skip(&test_name(module_path!()), "needs bpftool");
    }
    for flag in [&[][..], &["override"]] {
        let attach = ["cgroup", "attach", cgroup, "connect4", "pinned", program];
        wait_for("the cgroup to be free", PATIENCE, || tool(&[&attach[..], flag].concat()));
        let (ended, said) = refused(&network);
        assert_eq!(ended, Some(1), "{said}");
        assert!(
            said.contains("sock_connect4 (id ") && said.contains("connect4") && said.contains(cgroup),
            "{said}"
        );
        assert!(said.contains("bpftool cgroup detach"), "{said}");
        check_nothing_left(&network);
        assert!(tool(&["cgroup", "detach", cgroup, "connect4", "pinned", program]));
    }
    fs::remove_file(other).unwrap();
    let _agent = network.start();
}

/// A pin beside the agent's folder, which goes with the next sweep at the latest.
fn beside(network: &Network, purpose: &str) -> PathBuf {
    let pins = network.setup.pin_dir();
    pins.with_file_name(format!("{}-{purpose}", pins.file_name().unwrap().to_str().unwrap()))
}

/// An agent that ends by itself: how, and what it says.
fn refused(network: &Network) -> (Option<i32>, String) {
    let run_dir = network.setup.run_dir();
    let mut command = Command::new(seaway_binary());
    command.arg("agent").arg("--pin-dir").arg(network.setup.pin_dir()).arg("--run-dir").arg(&run_dir);
    command.arg("--manifests").arg(run_dir.with_file_name("manifests"));
    command.arg("--cgroup").arg(network.setup.cgroup());
    for interface in network.topology.interfaces() {
        command.args(["--interface", &interface]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = network.topology.node.namespace().spawn(command).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut process.stderr().unwrap(), &mut said).unwrap();
    (process.wait(PATIENCE).unwrap().code(), said)
}

#[track_caller]
fn check_nothing_left(network: &Network) {
    assert!(!network.setup.pin_dir().exists());
    assert!(!network.setup.run_dir().join("status.json").exists());
    for (program, arguments, absent) in
        [("bpftool", ["net", "show"], Topology::CLIENT_INTERFACE), ("tc", ["qdisc", "show"], "clsact")]
    {
        let shown = in_node(network, program, &arguments).expect(program);
        assert!(!shown.contains(absent), "{shown}");
    }
}

/// What a program says on the node; none if it fails.
fn in_node(network: &Network, program: &str, arguments: &[&str]) -> Option<String> {
    let run = || Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = network.topology.node.namespace().run(run).unwrap().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Id of the program behind a pinned link.
fn program_of(pin: &std::path::Path) -> Option<u32> {
    let output = Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(pin).output().ok()?;
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    u32::try_from(shown.get("prog_id")?.as_u64()?).ok()
}

/// A retry that is due later than another timer's next tick comes all the same: XDP that another program
/// keeps out is attached when that goes, while an interface pattern is followed.
#[test]
fn attachment_that_failed_is_tried_again_whatever_else_goes_on() {
    privileged!();
    let mut network = Network::new(&[0]);
    network.setup = network.setup.arguments(["--interface", "no-such-*"]);
    // Another owner's XDP: that of an agent whose pins are elsewhere.
    let other = network.start();
    let id = program_of(&network.setup.pin_dir().join("links/xdp_lb-ext0"));
    let spare = beside(&network, "xdp");
    let kept = id.is_some_and(|id| {
        let id = id.to_string();
        let output = Command::new("bpftool").args(["prog", "pin", "id", &id]).arg(&spare).output();
        output.is_ok_and(|output| output.status.success())
    });
    other.kill();
    if !kept {
        return skip(&test_name(module_path!()), "needs bpftool");
    }
    fs::remove_dir_all(network.setup.pin_dir()).unwrap();
    let ip = |arguments: &[&str]| in_node(&network, "ip", arguments).is_some();
    let pinned = spare.to_str().unwrap();
    wait_for("the other owner's XDP", PATIENCE, || ip(&["link", "set", "ext0", "xdp", "pinned", pinned]));
    let mut agent = network.start();
    let warned = warns(&mut agent, "a warning", "xdp_lb is not attached to interface ext0: the XDP program");
    assert!(warned.warnings.iter().any(|warning| warning.contains("xdp_lb (id ")), "{warned:?}");
    assert!(!in_sync(&network), "{}", status(&network));
    // The programs in the network stack would serve what XDP leaves to them. This one, with maps of its own,
    // leaves nothing.
    assert_eq!(healthz(&network), 200);
    // Until the waits between two tries are as long as they get.
    std::thread::sleep(SOON + SOON);
    assert!(ip(&["link", "set", "ext0", "xdp", "off"]));
    let freed = Instant::now();
    agent.wait("no warning", |status| status.warnings.is_empty());
    assert!(freed.elapsed() < SOON + Duration::from_secs(1), "attached after {:?}", freed.elapsed());
    assert!(in_sync(&network));
    check_served(&mut network.prober(Path::Xdp));
    fs::remove_file(spare).unwrap();
}
