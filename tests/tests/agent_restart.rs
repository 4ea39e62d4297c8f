//! Changes and restarts under traffic: nothing fails, nothing is reset.

#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use seaway_dataplane::{
    attachments::{self, Asked, Attachments, Look},
    pins::{self, Pins},
    probe::Probe as ProbeReport,
    programs::Programs,
};
use seaway_harness::{Agent, MemoryMaps, privileged, skip, test_name, wait_for};
use seaway_lab::{
    load::{Load, Plan, Tally},
    probe::{Outcome, Probe, ProbeProcess, Transport},
};
use seaway_tests::endurance::Endurance;
use seaway_tests::network::{ECHO_TCP, HTTP, Network, Path, ask, http_of, manifest, pods, question, vip};

const PATIENCE: Duration = Duration::from_secs(60);
/// Set to measure with as many restarts, connections and datagrams as the project promises nothing lost for.
const FULL: &str = "SEAWAY_RESTARTS_FULL";
/// A debug build of the agent is ready after about this time.
const START_TAKES: Duration = Duration::from_secs(6);
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

/// Lets one agent after the other go, under streams and datagrams that count each loss. `next` ends one and
/// starts the next.
fn check_restarts(next: impl Fn(&Network, Agent, u32) -> Agent) {
    let (restarts, plan) = match env::var_os(FULL) {
        Some(_) => (10, Endurance { streams: 1_000, datagrams: 100_000 }),
        None => (3, Endurance { streams: 100, datagrams: 2_000 }),
    };
    let network = Network::new(&[0, 1, 2]);
    let mut agent = network.start();
    let links = links_of(&network);
    let run = plan.start(&network);
    for number in 0..restarts {
        agent = next(&network, agent, number);
    }
    assert_eq!(links_of(&network), links, "links before and after the restarts");
    let outcome = run.finish();
    eprintln!("{restarts} restarts, {} connections: {outcome:?}", plan.streams);
    assert!(outcome.lost.is_empty(), "{outcome:?}");
}

/// Ids of the links by pin.
fn links_of(network: &Network) -> BTreeMap<String, u32> {
    let installed = attachments::read(&pins::links(network.setup.pin_dir())).unwrap();
    installed.into_iter().map(|(pin, found)| (pin, found.link)).collect()
}

#[test]
fn restarts_lose_no_connection_and_no_datagram() {
    privileged!();
    check_restarts(|network, agent, _| {
        assert!(agent.terminate().success());
        network.start()
    });
}

/// At moments of all kinds: while it loads, while it attaches, and at rest.
#[test]
fn sigkills_at_any_moment_lose_no_connection_and_no_datagram() {
    privileged!();
    check_restarts(|network, agent, number| {
        agent.kill();
        let starting = network.setup.start_unready(network.topology.node.namespace());
        // The golden ratio spreads any number of moments over the time that a start takes.
        let part = (f64::from(number) * 0.618).fract();
        std::thread::sleep(START_TAKES.mul_f64(part));
        starting.kill();
        network.start()
    });
}

/// What an upgrade of the agent brings: programs that differ in what they do. They take the places of
/// those at work by the pinned links, and with them the pinned maps.
fn upgrade(network: &Network, probe: &ProbeReport) {
    let pins = Pins::take(network.setup.pin_dir()).unwrap();
    let programs = Programs::load(probe, &MemoryMaps::CAPACITIES, Some(&pins.maps())).unwrap();
    let asked = Asked {
        interfaces: network.topology.interfaces().into_iter().collect(),
        pods: BTreeSet::new(),
        cgroup: Some(network.setup.cgroup().to_owned()),
    };
    let mut attachments = Attachments::open(programs, &pins.links()).unwrap();
    let settle = || attachments.settle(&asked, Look::Links, Instant::now());
    let changes = network.topology.node.namespace().run(settle).unwrap();
    let all = attachments.states().len();
    assert_eq!((changes.updated.len(), changes.attached.len(), changes.removed.len()), (all, 0, 0));
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
