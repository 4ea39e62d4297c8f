//! Workers are where their job says, and their reports are right.

#![forbid(unsafe_code)]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use seaway_harness::{privileged, wait_for};
use seaway_lab::{
    Cgroup, Job, Launcher, Namespace, Task, Topology, echo,
    echo::{EchoProcess, Listener, Protocol},
    http,
    load::{Load, Plan, Tally},
    probe::{Probe, ProbeProcess, Transport},
};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_seaway-lab-worker"), [] as [&str; 0])
}

#[test]
fn worker_is_in_its_cgroup_before_it_opens_a_socket() {
    privileged!();
    let namespace = Namespace::new("probe").unwrap();
    let address = (LOOPBACK, 8080).into();
    let listener = Listener { name: "here".into(), protocol: Protocol::Tcp, address };
    let _server = echo::serve(&namespace, &[listener]).unwrap();
    let cgroup = Cgroup::new("test-worker").unwrap();
    let mut inside = ProbeProcess::start(&namespace, &launcher(), Some(cgroup.path())).unwrap();
    let mut outside = ProbeProcess::start(&namespace, &launcher(), None).unwrap();
    for process in [&mut inside, &mut outside] {
        let probe = Probe { timeout_ms: 30_000, ..Probe::new(Transport::Tcp, address) };
        let outcome = process.ask(&probe).unwrap();
        assert_eq!(outcome.name(), Some("here"), "{outcome:?}");
    }
    assert_eq!(cgroup.processes().unwrap(), [inside.id()]);
    let netns = fs::read_link(format!("/proc/{}/ns/net", inside.id())).unwrap();
    assert_eq!(netns, namespace.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap());
}

#[test]
fn echo_process_answers_from_its_cgroup() {
    privileged!();
    let namespace = Namespace::new("echo").unwrap();
    let cgroup = Cgroup::new("test-echo").unwrap();
    let listener = |name: &str, protocol| {
        let address = (LOOPBACK, 8080).into();
        Listener { name: name.into(), protocol, address }
    };
    let sockets = [listener("tcp", Protocol::Tcp), listener("udp", Protocol::Udp)];
    let echo = EchoProcess::start(&namespace, &launcher(), Some(cgroup.path()), &sockets).unwrap();
    assert_eq!(cgroup.processes().unwrap(), [echo.id()]);
    let mut prober = ProbeProcess::start(&namespace, &launcher(), None).unwrap();
    for (transport, name) in [(Transport::Tcp, "tcp"), (Transport::Udp, "udp")] {
        let probe = Probe { timeout_ms: 30_000, ..Probe::new(transport, sockets[0].address) };
        assert_eq!(prober.ask(&probe).unwrap().name(), Some(name));
    }
    let taken = EchoProcess::start(&namespace, &launcher(), None, &sockets);
    assert!(taken.is_err(), "the addresses are in use");
}

#[test]
fn foreign_program_runs_in_the_cgroup() {
    privileged!();
    let namespace = Namespace::new("foreign").unwrap();
    let cgroup = Cgroup::new("test-foreign").unwrap();
    let task = Task::Run { program: "cat".into(), arguments: vec!["-".into()] };
    let mut command = launcher().command(&Job::new(task).cgroup(Some(cgroup.path()))).unwrap();
    command.stdin(Stdio::piped());
    let mut process = namespace.spawn(command).unwrap();
    let name = PathBuf::from(format!("/proc/{}/comm", process.id()));
    wait_for("the exec of cat", PATIENCE, || {
        fs::read_to_string(&name).is_ok_and(|name| name.trim() == "cat")
    });
    assert_eq!(cgroup.processes().unwrap(), [process.id()]);
    drop(process.stdin());
    assert!(process.wait(PATIENCE).unwrap().success());
}

#[test]
fn workers_end_with_their_namespace() {
    privileged!();
    let namespace = Namespace::new("short").unwrap();
    let task = Task::Run { program: "sleep".into(), arguments: vec!["1000".into()] };
    let mut process = namespace.spawn(launcher().command(&Job::new(task)).unwrap()).unwrap();
    let name = PathBuf::from(format!("/proc/{}/comm", process.id()));
    wait_for("the exec of sleep", PATIENCE, || {
        fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep")
    });
    drop(namespace);
    assert!(!process.wait(PATIENCE).unwrap().success());
}

#[test]
fn cgroup_goes_with_its_handle_and_leftovers_go_at_the_next_start() {
    privileged!();
    let root = Cgroup::root().unwrap();
    // Above the kernel's largest process id (2^22).
    let leftover = root.join("seaway-test-leftover-4194305-0");
    fs::create_dir(&leftover).unwrap();
    let cgroup = Cgroup::new("test-leftover").unwrap();
    let path = cgroup.path().to_owned();
    assert!(path.join("cgroup.procs").exists());
    assert!(!leftover.exists());
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    fs::write(path.join("cgroup.procs"), cat.id().to_string()).unwrap();
    cat.kill().unwrap();
    // Not reaped when the cgroup is dropped: it is gone from it all the same.
    drop(cgroup);
    assert!(!path.exists());
    cat.wait().unwrap();
}

#[test]
fn load_counts_who_answered_and_what_failed() {
    privileged!();
    let namespace = Namespace::new("load").unwrap();
    let run = |plan: &Plan| {
        let progress = Load::start(&namespace, &launcher(), None, plan).unwrap().wait(PATIENCE).unwrap();
        <[Tally; 1]>::try_from(progress.phases).unwrap()[0].clone()
    };
    let target: SocketAddr = (LOOPBACK, 80).into();
    let server = http::serve(&namespace, "one", target).unwrap();
    for keep_alive in [false, true] {
        let tally = run(&Plan { keep_alive, ..Plan::new(target, 200) });
        assert_eq!((tally.requests, tally.failed), (200, 0), "{tally:?}");
        assert_eq!(tally.endpoints[&target].requests, 200);
        assert!(tally.p50_us > 0 && tally.p50_us <= tally.p99_us, "{tally:?}");
    }
    drop(server);
    let tally = run(&Plan::new(target, 20));
    assert_eq!((tally.requests, tally.failed), (20, 20), "{tally:?}");
    assert!(tally.failures.keys().all(|reason| reason.starts_with("connect: ")), "{tally:?}");
}

#[test]
fn requests_after_a_mark_are_counted_apart() {
    privileged!();
    let network = Topology::new(&["10.1.1.1".parse().unwrap()], &[("pod", &["10.1.1.111".parse().unwrap()])]);
    let network = network.unwrap();
    let target = "10.1.1.111:80".parse().unwrap();
    let server = http::serve(&network.pods[0].namespace, "one", target).unwrap();
    let plan = Plan { marks: 1, rate_per_s: Some(2000), ..Plan::new(target, 50) };
    let mut load = Load::start(&network.client, &launcher(), None, &plan).unwrap();
    let answered =
        |load: &mut Load| load.progress().unwrap().phases.first().map_or(0, |tally| tally.requests);
    wait_for("100 requests", PATIENCE, || answered(&mut load) >= 100);
    drop(server);
    load.mark().unwrap();
    let [before, after] = <[Tally; 2]>::try_from(load.wait(PATIENCE).unwrap().phases).unwrap();
    assert!(before.endpoints[&target].requests >= 100, "{before:?}");
    assert_eq!((after.requests, after.failed), (50, 50), "{after:?}");
}
