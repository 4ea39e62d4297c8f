//! What an agent does with bad input, a second agent, and the end.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use seaway_common::{ABI_VERSION, MapName};
use seaway_dataplane::pins;
use seaway_harness::{privileged, seaway_binary, wait_for};
use seaway_lab::{
    Namespace, Topology,
    probe::{Outcome, Transport},
};
use seaway_tests::network::{self, ECHO_TCP, Network, ask, manifest, pods, question, vip};

const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65534;

#[test]
fn broken_manifest_leaves_the_last_good_state_in_force() {
    privileged!();
    let network = Network::new(&[0]);
    let mut agent = network.start();
    let mut prober = network.prober(network::Path::Socket);
    let to = question(Transport::Tcp, vip(0, ECHO_TCP));
    agent.write("echo.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: echo\nspec: {");
    let status = agent.wait("a warning", |status| !status.warnings.is_empty());
    assert!(status.warnings.iter().all(|warning| warning.contains("echo.yaml")), "{status:?}");
    assert_eq!(ask(&mut prober, &to).0, pods()[0]);
    agent.write("echo.yaml", "");
    agent.wait("a warning", |status| !status.warnings.is_empty());
    assert_eq!(ask(&mut prober, &to).0, pods()[0]);
    agent.apply("echo.yaml", &manifest(&[1]));
    agent.wait("no warning", |status| status.warnings.is_empty());
    assert_eq!(ask(&mut prober, &to).0, pods()[1]);
}

#[test]
fn cleanup_leaves_no_pin_and_no_program() {
    privileged!();
    let network = Network::new(&[0]);
    let mut prober = network.prober(network::Path::Socket);
    let to = question(Transport::Tcp, vip(0, ECHO_TCP));
    let agent = network.start();
    assert!(agent.terminate().success());
    let pins = network.setup.pin_dir();
    assert!(pins.join("links").read_dir().unwrap().count() > 0);
    assert_eq!(ask(&mut prober, &to).0, pods()[0]);
    let cleaned = seaway(&["agent", "--cleanup", "--pin-dir", pins.to_str().unwrap()]).output().unwrap();
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert!(!pins.exists());
    // The kernel lets go of programs a moment after their last pin.
    wait_for("the end of translation", PATIENCE, || prober.ask(&to).unwrap() == Outcome::Unreachable);
    // Twice is no error.
    let again = seaway(&["agent", "--cleanup", "--pin-dir", pins.to_str().unwrap()]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
}

/// A folder that is none of the agent's keeps what is in it, whatever the agent is told.
#[test]
fn cleanup_and_a_refused_start_leave_the_files_of_others() {
    privileged!();
    let place = tempfile::tempdir().unwrap();
    for folder in ["maps", "links"] {
        fs::create_dir(place.path().join(folder)).unwrap();
        fs::write(place.path().join(folder).join("precious"), "text").unwrap();
    }
    let pin_dir = ["--pin-dir", place.path().to_str().unwrap()];
    let cleaned = seaway(&["agent", "--cleanup"]).args(pin_dir).output().unwrap();
    let said = String::from_utf8(cleaned.stderr).unwrap();
    assert!(cleaned.status.success() && said.contains("no agent has pins there"), "{said}");
    let network = Network::new(&[]);
    let mut command = seaway(&["agent", "--interface", Topology::CLIENT_INTERFACE, "--manifests", "."]);
    command.args(pin_dir).arg("--run-dir").arg(place.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = network.topology.node.namespace().spawn(command).unwrap();
    let mut said = String::new();
    process.stderr().unwrap().read_to_string(&mut said).unwrap();
    assert!(!process.wait(PATIENCE).unwrap().success());
    assert!(said.contains("is no folder within a BPF file system") && said.contains("--pin-dir"), "{said}");
    for folder in ["maps", "links"] {
        assert_eq!(fs::read_to_string(place.path().join(folder).join("precious")).unwrap(), "text");
    }
}

/// What another program pinned beside the agent's folders stays, and the pin folder with it.
#[test]
fn cleanup_leaves_what_another_program_put_into_the_pin_folder() {
    privileged!();
    let network = Network::new(&[0]);
    let agent = network.start();
    let other = network.setup.pin_dir().join("other");
    fs::create_dir(&other).unwrap();
    assert!(agent.terminate().success());
    let pins = network.setup.pin_dir().to_str().unwrap();
    let cleaned = seaway(&["agent", "--cleanup", "--pin-dir", pins]).output().unwrap();
    assert!(cleaned.status.success(), "{cleaned:?}");
    let left: Vec<_> = fs::read_dir(pins).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [other]);
}

#[test]
fn agent_told_to_clean_up_does_so_when_it_ends() {
    privileged!();
    let mut network = Network::new(&[0]);
    network.setup = network.setup.arguments(["--cleanup"]);
    let mut prober = network.prober(network::Path::Socket);
    let to = question(Transport::Tcp, vip(0, ECHO_TCP));
    let agent = network.start();
    assert_eq!(ask(&mut prober, &to).0, pods()[0]);
    assert!(agent.terminate().success());
    assert!(!network.setup.pin_dir().exists());
    wait_for("the end of translation", PATIENCE, || prober.ask(&to).unwrap() == Outcome::Unreachable);
}

#[test]
fn start_without_any_manifest_leaves_nothing_behind() {
    privileged!();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("manifests");
    fs::create_dir(&empty).unwrap();
    let network = Network::new(&[]);
    let pins = network.setup.pin_dir();
    let mut command = seaway(&["agent", "--interface", Topology::CLIENT_INTERFACE, "--manifests"]);
    command.arg(&empty).arg("--pin-dir").arg(pins).arg("--run-dir").arg(folder.path());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = network.topology.node.namespace().spawn(command).unwrap();
    let mut said = String::new();
    process.stderr().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("holds no file named"), "{said}");
    assert!(!process.wait(PATIENCE).unwrap().success());
    assert!(!pins.exists());
}

#[test]
fn second_agent_on_the_same_pins_is_refused() {
    privileged!();
    let network = Network::new(&[0]);
    let mut agent = network.start();
    let pins = network.setup.pin_dir().to_str().unwrap();
    let run_dir = network.setup.run_dir();
    let manifests = run_dir.with_file_name("manifests");
    let other_run_dir = run_dir.with_file_name("other-run");
    let mut command = seaway(&["agent", "--interface", Topology::CLIENT_INTERFACE, "--pin-dir", pins]);
    command.arg("--manifests").arg(manifests).arg("--run-dir").arg(other_run_dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut second = network.topology.node.namespace().spawn(command).unwrap();
    let mut stderr = second.stderr().unwrap();
    assert_eq!(second.wait(PATIENCE).unwrap().code(), Some(1));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("another agent") && said.contains(pins) && said.contains("--pin-dir"), "{said}");
    let mut prober = network.prober(network::Path::Xdp);
    assert_eq!(ask(&mut prober, &question(Transport::Tcp, vip(0, ECHO_TCP))).0, pods()[0]);
    assert!(agent.status().ready);
}

/// What an agent of another version left is not guessed at: it stays at work as it is.
#[test]
fn maps_of_another_layout_are_refused_and_stay_at_work() {
    privileged!();
    let network = Network::new(&[0]);
    let mut prober = network.prober(network::Path::Socket);
    let to = question(Transport::Tcp, vip(0, ECHO_TCP));
    assert!(network.start().terminate().success());
    let pins = network.setup.pin_dir();
    let meta = MapData::from_pin(pins::maps(pins).join(MapName::Meta.as_str())).unwrap();
    let mut meta = Array::<_, [u32; 2]>::try_from(Map::Array(meta)).unwrap();
    meta.set(0, [ABI_VERSION + 1, 0], 0).unwrap();
    let run_dir = network.setup.run_dir();
    let mut command = seaway(&["agent", "--interface", Topology::CLIENT_INTERFACE, "--pin-dir"]);
    command
        .arg(pins)
        .arg("--manifests")
        .arg(run_dir.with_file_name("manifests"))
        .arg("--run-dir")
        .arg(run_dir);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = network.topology.node.namespace().spawn(command).unwrap();
    let mut said = String::new();
    process.stderr().unwrap().read_to_string(&mut said).unwrap();
    assert!(!process.wait(PATIENCE).unwrap().success());
    let found = format!("layout version {}, this build needs {ABI_VERSION}", ABI_VERSION + 1);
    assert!(said.contains(&found) && said.contains("--cleanup"), "{said}");
    assert_eq!(ask(&mut prober, &to).0, pods()[0]);
}

#[test]
fn agent_without_root_says_so_and_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = unprivileged(folder.path(), &["agent", "--manifests", ".", "--interface", "lo"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("needs root") && said.trim().lines().count() == 1, "{said}");
}

/// Found before anything is loaded: the verifier's own answer is a log of many lines.
#[test]
fn missing_capability_is_named_and_exits_with_3() {
    privileged!();
    let place = tempfile::tempdir().unwrap();
    let node = Namespace::new("node").unwrap();
    for (left, lacking) in [
        ("+net_admin,+perfmon", "CAP_BPF"),
        ("+bpf,+perfmon", "CAP_NET_ADMIN"),
        ("+bpf,+net_admin", "CAP_PERFMON"),
    ] {
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-all,{left}")).args(["--inh-caps=-all", "--no-new-privs"]);
        command.arg(seaway_binary()).args(["agent", "--manifests", ".", "--interface", "lo", "--pin-dir"]);
        command.arg(place.path().join("pins")).arg("--run-dir").arg(place.path());
        let Ok(output) = node.run(|| command.output()).unwrap() else {
            return seaway_harness::skip("missing_capability_is_named_and_exits_with_3", "needs setpriv");
        };
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(&format!("it lacks {lacking}\n")) && said.trim().lines().count() == 1,
            "{said}"
        );
    }
    assert!(!place.path().join("pins").exists());
}

/// Each names the flag and what is wanted.
#[test]
fn wrong_values_of_flags_are_wrong_usage() {
    let cases = [
        (["--nodeport-addresses", "primary,eth0"], "a range, an address or `primary` is wanted"),
        (["--algorithm-outside", "fastest"], "known are random, maglev"),
        (["--snat-ports", "9-1"], "the first port is 0 or larger than the last"),
        (["--cluster-cidr", "10.0.0.0/40"], "10.0.0.0/40"),
        (["--healthz-bind-address", "10256"], "such as 0.0.0.0:10256"),
    ];
    for (flag, wanted) in cases {
        let output = seaway(&["agent", "--manifests", ".", "--interface", "lo"]).args(flag).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag:?}: {said}");
        assert!(said.contains(flag[0]) && said.contains(wanted), "{said}");
    }
}

/// Runs `seaway` as nobody, whoever runs this test.
fn unprivileged(folder: &Path, arguments: &[&str]) -> Output {
    // A copy, because the folders above the program may be closed to others.
    let program = folder.join("seaway");
    fs::copy(seaway_binary(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    let is_root = fs::metadata(folder).is_ok_and(|folder| std::os::unix::fs::MetadataExt::uid(&folder) == 0);
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

fn seaway(arguments: &[&str]) -> Command {
    let mut command = Command::new(seaway_binary());
    command.args(arguments);
    command
}

/// Whether a program ends well on the node.
fn runs(network: &Network, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut process) = network.topology.node.namespace().spawn(command) else { return false };
    process.wait(PATIENCE).unwrap().success()
}

/// An agent on this node has a warning for each of these, and no other.
fn check_leftovers(network: &Network, expected: &[&str]) {
    let mut agent = network.start();
    let status = agent.wait("warnings", |status| status.warnings.len() >= expected.len());
    for part in expected {
        let told = |warning: &&String| warning.contains("kube-proxy is still here") && warning.contains(part);
        assert_eq!(status.warnings.iter().filter(told).count(), 1, "{part}: {status:?}");
    }
    assert_eq!(status.warnings.len(), expected.len(), "{status:?}");
}

#[test]
fn rules_of_kube_proxy_are_named() {
    privileged!();
    let network = Network::new(&[0]);
    let rules = "add table ip kube-proxy; add chain ip kube-proxy services; add table ip6 nat; \
                 add chain ip6 nat KUBE-SERVICES; add table ip other; add chain ip other services";
    if !runs(&network, "nft", &[rules]) {
        seaway_harness::skip("rules_of_kube_proxy_are_named", "needs nft");
        return;
    }
    check_leftovers(
        &network,
        &["table ip kube-proxy (nftables)", "chain KUBE-SERVICES of table ip6 nat (iptables)"],
    );
}

/// One that is started beside the agent, and cleaned up after: the agent looks again whenever it compares
/// everything, here since the node got an address.
#[test]
fn rules_of_kube_proxy_are_named_also_when_they_come_later() {
    privileged!();
    let network = Network::new(&[0]);
    let node = network.topology.node.namespace();
    let mut agent = network.start();
    let status = agent.wait("the start", |status| status.ready);
    assert!(status.warnings.is_empty(), "{status:?}");
    let told =
        |warnings: &[String]| warnings.iter().any(|warning| warning.contains("kube-proxy is still here"));
    for (rules, address, there) in [
        ("add table ip kube-proxy; add chain ip kube-proxy services", "192.0.2.77/32", true),
        ("delete table ip kube-proxy", "192.0.2.78/32", false),
    ] {
        if !runs(&network, "nft", &[rules]) {
            seaway_harness::skip("rules_of_kube_proxy_are_named_also_when_they_come_later", "needs nft");
            return;
        }
        node.add_address(Topology::CLIENT_INTERFACE, address.parse().unwrap()).unwrap();
        agent.wait(rules, |status| told(&status.warnings) == there);
    }
}

#[test]
fn rules_of_kube_proxy_in_legacy_iptables_are_named() {
    privileged!();
    let network = Network::new(&[0]);
    let chain = |program: &str, table: &str, name: &str| {
        runs(&network, program, &["-t", table, "-N", name]) && {
            // Something in front of it and behind it, as there always is.
            let to = ["-t", table, "-A", "OUTPUT", "-p", "tcp", "--dport", "80", "-j", name];
            runs(&network, program, &to)
        }
    };
    let made = chain("iptables-legacy", "nat", "KUBE-SERVICES")
        && chain("ip6tables-legacy", "filter", "KUBE-SERVICES")
        && chain("iptables-legacy", "filter", "KUBE-SERVICES-TOO");
    if !made {
        seaway_harness::skip("rules_of_kube_proxy_in_legacy_iptables_are_named", "needs iptables-legacy");
        return;
    }
    check_leftovers(
        &network,
        &[
            "chain KUBE-SERVICES of table ip nat (legacy iptables)",
            "chain KUBE-SERVICES of table ip6 filter (legacy iptables)",
        ],
    );
}
