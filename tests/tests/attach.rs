//! Programs on interfaces and cgroups: they stay when their agent goes, make way for those of the
//! next one, and go when they are no longer asked for. On every kernel, whatever it attaches by.

#![forbid(unsafe_code)]

use std::{collections::BTreeSet, path::PathBuf, process, time::Duration};

use aya::programs::loaded_programs;
use seaway_dataplane::{
    attach::{self, Attached, Mode},
    feeder,
    pins::Pins,
    probe::Probe,
    programs::{Programs, SOCKET_HOOKS, SocketHook, TC},
};
use seaway_harness::{MemoryMaps, privileged, wait_for};
use seaway_lab::{Cgroup, End, Namespace, Veth, bpffs};

/// The kernel frees programs some time after the last who uses them.
const PATIENCE: Duration = Duration::from_secs(30);
const LINK: &str = "link";

/// A node with one link, and its cgroup.
struct Place {
    node: Namespace,
    _beyond: Namespace,
    cgroup: Cgroup,
    pins: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let (node, beyond) = (Namespace::new("node").unwrap(), Namespace::new("beyond").unwrap());
        Veth::new(End::new(&node, LINK), End::new(&beyond, "far")).connect().unwrap();
        let pins = bpffs().join(format!("seaway-test-{name}-{}", process::id()));
        Self { node, _beyond: beyond, cgroup: Cgroup::new(name).unwrap(), pins }
    }

    /// An agent's programs, attached wherever they can be.
    fn attach(&self) -> (Programs, Mode, Attached) {
        let pins = Pins::take(&self.pins).unwrap();
        let mut programs =
            Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, Some(&pins.maps())).unwrap();
        let links = pins.links();
        let mode = self.node.run(|| attach::interface(&mut programs, &links, LINK)).unwrap().unwrap();
        let hooks = attach::cgroup(&mut programs, &links, self.cgroup.path()).unwrap();
        (programs, mode, hooks)
    }

    fn remove(&self) {
        let pins = Pins::take(&self.pins).unwrap();
        self.node.run(|| pins.remove()).unwrap().unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing is left of it after a test that passed.
        std::fs::remove_dir_all(&self.pins).ok();
    }
}

/// The kernel's numbers of all programs.
fn ids(programs: &mut Programs) -> BTreeSet<u32> {
    let mut ids = BTreeSet::from([programs.xdp().unwrap().info().unwrap().id()]);
    ids.extend(TC.map(|name| programs.classifier(name).unwrap().info().unwrap().id()));
    ids.extend(SOCKET_HOOKS.map(|name| {
        let info = match programs.socket_hook(name).unwrap() {
            SocketHook::Address(program) => program.info(),
            SocketHook::Release(program) => program.info(),
        };
        info.unwrap().id()
    }));
    ids
}

/// Those of the programs that are still loaded.
fn loaded(ids: &BTreeSet<u32>) -> BTreeSet<u32> {
    // One that goes while they are listed is an error of the list.
    loaded_programs().filter_map(Result::ok).map(|info| info.id()).filter(|id| ids.contains(id)).collect()
}

#[test]
fn programs_outlive_their_agent_and_make_way_for_the_next_ones() {
    privileged!();
    let place = Place::new("attach");
    let (mut first, mode, hooks) = place.attach();
    assert_eq!((mode, hooks), (Mode::Xdp(Attached::New), Attached::New));
    let before = ids(&mut first);
    drop(first);
    assert_eq!(loaded(&before), before, "programs whose agent is gone");

    let (mut second, mode, hooks) = place.attach();
    assert_eq!((mode, hooks), (Mode::Xdp(Attached::Replaced), Attached::Replaced));
    let after = ids(&mut second);
    drop(second);
    wait_for("the first agent's programs to be gone", PATIENCE, || loaded(&before).is_empty());
    assert_eq!(loaded(&after), after);

    place.remove();
    wait_for("the second agent's programs to be gone", PATIENCE, || loaded(&after).is_empty());
}

#[test]
fn interface_that_is_no_longer_asked_for_is_left() {
    privileged!();
    let place = Place::new("retain");
    let (mut programs, ..) = place.attach();
    let all = ids(&mut programs);
    drop(programs);
    let none = BTreeSet::new();
    let links = place.pins.join("links");
    let gone = place.node.run(|| attach::retain(&links, &none, &none, Some(place.cgroup.path())));
    let mut gone = gone.unwrap().unwrap();
    gone.sort();
    assert_eq!(gone, ["tc_egress-link", "tc_ingress-link", "xdp_lb-link"]);
    wait_for("programs of the interface to be gone", PATIENCE, || loaded(&all).len() == SOCKET_HOOKS.len());
    place.remove();
    wait_for("the socket hooks to be gone", PATIENCE, || loaded(&all).is_empty());
}

/// What benchmarks attach with has no pins: it goes with the programs.
#[test]
fn programs_that_nothing_pins_work_until_they_are_dropped() {
    privileged!();
    let place = Place::new("feeder");
    for early in [false, true] {
        let mut programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
        let all = ids(&mut programs);
        place.node.run(|| feeder::attach(&mut programs, LINK, early)).unwrap().unwrap();
        assert_eq!(loaded(&all), all);
        place.node.run(|| drop(programs)).unwrap();
        wait_for("the programs to be gone", PATIENCE, || loaded(&all).is_empty());
    }
}
