//! Changes and restarts under traffic: nothing fails, nothing is reset.

#![forbid(unsafe_code)]

use std::time::Duration;

use seaway_dataplane::{
    attach::{self, Attached, Mode},
    pins::Pins,
    probe::Probe as ProbeReport,
    programs::Programs,
};
use seaway_harness::{Agent, MemoryMaps, privileged, skip, test_name, wait_for};
use seaway_lab::{
    load::{Load, Plan, Tally},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};
use seaway_tests::network::{ECHO_TCP, HTTP, Network, Path, ask, http_of, manifest, pods, question, vip};

const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that have to be answered in each phase before the next begins.
const REQUESTS: u64 = 200;

/// Load on both paths, of a few hundred requests a second each.
fn start_loads(network: &Network, marks: usize) -> [Load; 2] {
    let plan = Plan { marks, rate_per_s: Some(400), timeout_ms: 30_000, ..Plan::new(vip(0, HTTP), REQUESTS) };
    Path::ALL.map(|path| network.load(path, &plan))
}

/// Waits until both have done their part of a phase.
fn wait_for_requests(loads: &mut [Load; 2], phase: usize) {
    for load in loads {
        wait_for("200 requests", PATIENCE, || {
            load.progress().unwrap().phases.get(phase).is_some_and(|tally| tally.requests >= REQUESTS)
        });
    }
}

/// The phases of both runs, none of whose requests failed.
fn finish(loads: [Load; 2]) -> [Vec<Tally>; 2] {
    loads.map(|load| {
        let phases = load.wait(PATIENCE).unwrap().phases;
        for tally in &phases {
            assert!(tally.failed == 0 && tally.requests >= REQUESTS, "{phases:#?}");
        }
        phases
    })
}

#[test]
fn endpoint_leaves_under_load_without_a_failure() {
    privileged!();
    let network = Network::new(&[0, 1, 2]);
    let mut agent = network.start();
    let mut loads = start_loads(&network, 1);
    wait_for_requests(&mut loads, 0);
    agent.apply("echo.yaml", &manifest(&[0, 1]));
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    for phases in finish(loads) {
        let answered = |phase: usize| phases[phase].endpoints.keys().copied().collect::<Vec<_>>();
        assert_eq!(answered(0), [0, 1, 2].map(http_of));
        assert_eq!(answered(1), [0, 1].map(http_of));
    }
}

/// Connections that stay open: some on each path.
struct Open {
    probers: [ProbeProcess; 2],
    answered: Vec<(usize, Probe, String)>,
}

impl Open {
    fn new(network: &Network) -> Self {
        let mut probers = Path::ALL.map(|path| network.prober(path));
        let mut answered = Vec::new();
        for number in 0..16 {
            let (path, family) = (number % 2, number / 2 % 2);
            let flow = Some(number.to_string());
            let probe = Probe { flow, ..question(Transport::Tcp, vip(family, ECHO_TCP)) };
            let (name, _) = ask(&mut probers[path], &probe);
            answered.push((path, probe, name));
        }
        Self { probers, answered }
    }

    /// Each is answered by whoever answered first.
    fn check(&mut self) {
        for (path, probe, name) in &self.answered {
            assert_eq!(ask(&mut self.probers[*path], probe).0, *name);
        }
    }
}

/// Ends an agent and starts another, under load and with open connections.
fn check_restart(end: impl FnOnce(Agent)) {
    let network = Network::new(&[0, 1, 2]);
    let mut agent = network.start();
    let mut loads = start_loads(&network, 2);
    let mut open = Open::new(&network);
    wait_for_requests(&mut loads, 0);
    let before = agent.status();
    end(agent);
    open.check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    wait_for_requests(&mut loads, 1);
    let mut agent = network.start();
    assert_ne!(agent.status().pid, before.pid);
    open.check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    for phases in finish(loads) {
        for tally in phases {
            assert!(tally.endpoints.keys().copied().eq([0, 1, 2].map(http_of)), "{tally:?}");
        }
    }
    open.check();
    // The new agent is in charge: what it is told now counts, and open connections stay open.
    agent.apply("echo.yaml", &manifest(&[1]));
    for prober in &mut open.probers {
        assert_eq!(ask(prober, &question(Transport::Tcp, vip(0, ECHO_TCP))).0, pods()[1]);
    }
    open.check();
}

#[test]
fn restart_after_sigterm_breaks_nothing() {
    privileged!();
    check_restart(|agent| assert!(agent.terminate().success()));
}

#[test]
fn restart_after_sigkill_breaks_nothing() {
    privileged!();
    check_restart(Agent::kill);
}

#[test]
fn manifest_that_changed_while_no_agent_ran_is_in_force_after_the_start() {
    privileged!();
    let network = Network::new(&[0]);
    let agent = network.start();
    let mut probers = Path::ALL.map(|path| network.prober(path));
    let to = question(Transport::Tcp, vip(0, ECHO_TCP));
    assert!(agent.terminate().success());
    network.setup.write("echo.yaml", &manifest(&[2]));
    probers.iter_mut().for_each(|prober| assert_eq!(ask(prober, &to).0, pods()[0]));
    let _agent = network.start();
    probers.iter_mut().for_each(|prober| assert_eq!(ask(prober, &to).0, pods()[2]));
}

/// What an upgrade of the agent brings: programs that differ in what they do. They take the places of
/// those at work by the pinned links, and with them the pinned maps.
fn upgrade(network: &Network, probe: &ProbeReport) {
    let pins = Pins::take(network.setup.pin_dir()).unwrap();
    let mut programs = Programs::load(probe, &MemoryMaps::CAPACITIES, Some(&pins.maps())).unwrap();
    let node = network.topology.node.namespace();
    for interface in network.topology.interfaces() {
        let mode = node.run(|| attach::interface(&mut programs, &pins.links(), &interface)).unwrap();
        assert_eq!(mode.unwrap(), Mode::Xdp(Attached::Replaced), "{interface}");
    }
    let hooks = attach::cgroup(&mut programs, &pins.links(), network.setup.cgroup()).unwrap();
    assert_eq!(hooks, Attached::Replaced);
}

#[test]
fn row_26_upgrade_to_changed_programs_breaks_nothing() {
    privileged!();
    let probe = ProbeReport::run().unwrap();
    if !probe.set_retval {
        return skip(&test_name(module_path!()), "no bpf_set_retval to tell the programs apart by");
    }
    let network = Network::new(&[0, 1, 2]);
    let agent = network.start();
    let mut loads = start_loads(&network, 2);
    let mut open = Open::new(&network);
    let mut prober = network.prober(Path::Socket);
    // The changed programs say in another way that nobody listens.
    let mut refused = || prober.ask(&question(Transport::Tcp, vip(0, 4444))).unwrap() == Outcome::Refused;
    wait_for_requests(&mut loads, 0);
    assert!(refused());
    agent.kill();
    upgrade(&network, &ProbeReport { set_retval: false, ..probe });
    assert!(!refused(), "the programs from before are still at work");
    open.check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    wait_for_requests(&mut loads, 1);
    let _agent = network.start();
    assert!(refused());
    open.check();
    loads.iter_mut().for_each(|load| load.mark().unwrap());
    finish(loads);
}
