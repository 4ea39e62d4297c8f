//! The built program does the lab's jobs.

#![forbid(unsafe_code)]

use seaway_harness::{launcher, privileged};
use seaway_lab::{
    Cgroup, Namespace,
    probe::{Outcome, Probe, ProbeProcess, Transport},
};

#[test]
fn seaway_runs_workers_in_a_namespace_and_a_cgroup() {
    privileged!();
    let namespace = Namespace::new("worker").unwrap();
    let cgroup = Cgroup::new("test-binary").unwrap();
    let mut process = ProbeProcess::start(&namespace, &launcher(), Some(cgroup.path())).unwrap();
    let nobody = Probe { timeout_ms: 30_000, ..Probe::new(Transport::Tcp, "127.0.0.1:9".parse().unwrap()) };
    assert_eq!(process.ask(&nobody).unwrap(), Outcome::Refused);
    assert_eq!(cgroup.processes().unwrap(), [process.id()]);
}
