//! What an agent may do and may not: rights, other programs, refused starts.

use std::{
    fs,
    path::PathBuf,
    process::{self, Command, Output, Stdio},
};

use seaway_dataplane::programs::{Programs, SocketHook};
use seaway_harness::{MemoryMaps, privileged, seaway_binary, skip, test_name};
use seaway_lab::{Topology, bpffs};
use seaway_tests::nodes::case::{Case, From, NODE_WEB, node_port};

pub(crate) const NEEDED: &str = "bpf,net_admin,perfmon";

/// The agent under `setpriv` with these capabilities, until it ends or has run for some seconds.
pub(crate) fn start_with(case: &Case, capabilities: &str, more: &[&str]) -> Output {
    let bounding: String = capabilities.split(',').map(|name| format!(",+{name}")).collect();
    let mut command = Command::new("timeout");
    command.args(["--signal=TERM", "8", "prlimit", "--memlock=65536:65536", "setpriv"]);
    command.args([&format!("--bounding-set=-all{bounding}"), "--inh-caps=-all", "--no-new-privs"]);
    command.arg(seaway_binary()).args(case.setup.command_line()).args(more);
    command.stdin(Stdio::null());
    case.node().run(|| command.output()).unwrap().expect("timeout, prlimit and setpriv are installed")
}

/// The rights of the DaemonSet are enough; one less ends with 3 and its name.
#[test]
fn row_20_rights() {
    privileged!();
    let case = Case::new(&[1]);
    let served = std::thread::scope(|scope| {
        let agent = scope.spawn(|| start_with(&case, NEEDED, &[]));
        let mut served = false;
        while !agent.is_finished() && !served {
            let probe = seaway_lab::probe::Probe {
                timeout_ms: 300,
                ..seaway_lab::probe::Probe::new(seaway_lab::probe::Transport::Tcp, node_port(0, NODE_WEB))
            };
            served = case.prober(From::Client).ask(&probe).unwrap().name().is_some();
        }
        let output = agent.join().unwrap();
        assert!(served, "{}", String::from_utf8_lossy(&output.stderr));
        served
    });
    assert!(served);
    fs::remove_dir_all(case.setup.pin_dir()).ok();
    for (missing, rest) in
        [("BPF", "net_admin,perfmon"), ("NET_ADMIN", "bpf,perfmon"), ("PERFMON", "bpf,net_admin")]
    {
        let output = start_with(&case, rest, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "without {missing}:\n{said}");
        assert!(said.contains(missing), "without {missing}:\n{said}");
        assert!(said.lines().count() < 10, "without {missing} the verifier speaks:\n{said}");
        assert_nothing_left(&case, missing);
    }
}

/// A program of somebody else that takes the cgroup for itself is named, and the refused start leaves
/// nothing behind.
#[test]
fn row_18_environment_exclusive_program() {
    privileged!();
    let case = Case::new(&[1]);
    let Some(_others) = Exclusive::attach(&case) else {
        skip(&test_name(module_path!()), "needs bpftool, which attaches without a link");
        return;
    };
    let output = start_with(&case, NEEDED, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_ne!(output.status.code(), Some(124), "it ran:\n{said}");
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("connect4"), "the other program is not named:\n{said}");
    assert!(said.contains(&*case.setup.cgroup().to_string_lossy()), "the cgroup is not named:\n{said}");
    assert_nothing_left(&case, "an exclusive program");
}

/// A program at `connect4` of the agent's cgroup that lets no other beside it, which a link cannot be.
struct Exclusive {
    pin: PathBuf,
    cgroup: PathBuf,
}

impl Exclusive {
    /// None without bpftool.
    fn attach(case: &Case) -> Option<Self> {
        let probe = seaway_dataplane::probe::Probe::run().expect("a probe of the kernel");
        let mut others = Programs::load(&probe, &MemoryMaps::CAPACITIES, None).expect("programs");
        let SocketHook::Address(program) = others.socket_hook("sock_connect4").expect("a program") else {
            panic!("sock_connect4 is a program for addresses");
        };
        let pin = bpffs().join(format!("seaway-test-exclusive-{}", process::id()));
        program.pin(&pin).expect("a BPF file system");
        let exclusive = Self { pin, cgroup: case.setup.cgroup().to_owned() };
        exclusive.bpftool("attach").then_some(exclusive)
    }

    fn bpftool(&self, what: &str) -> bool {
        let mut command = Command::new("bpftool");
        command.args(["cgroup", what]).arg(&self.cgroup).args(["connect4", "pinned"]).arg(&self.pin);
        command.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        self.bpftool("detach");
        fs::remove_file(&self.pin).ok();
    }
}

fn assert_nothing_left(case: &Case, when: &str) {
    assert!(!case.setup.pin_dir().exists(), "{when}: pins are left at {}", case.setup.pin_dir().display());
    let shown = case
        .node()
        .run(|| Command::new("ip").args(["-d", "link", "show", Topology::CLIENT_INTERFACE]).output());
    let shown = shown.unwrap().expect("ip is installed");
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(!shown.contains("xdp"), "{when}: XDP is left: {shown}");
}
