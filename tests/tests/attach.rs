//! Programs on interfaces and cgroups: they stay when their agent goes, make way for those of the
//! next one, come back when something takes them away, and go when they are no longer asked for. On every
//! kernel, whatever it attaches by.

#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use aya::programs::loaded_programs;
use seaway_dataplane::{
    attachments::{self, Asked, Attachments, Changes, Installed, Look},
    feeder,
    pins::Pins,
    probe::Probe,
    programs::{Programs, SOCKET_HOOKS, SocketHook, TC},
};
use seaway_harness::{MemoryMaps, privileged, skip, test_name, wait_for};
use seaway_lab::{Cgroup, End, Namespace, Veth, bpffs};

/// The kernel frees programs some time after the last who uses them.
const PATIENCE: Duration = Duration::from_secs(30);
/// XDP and both ways of tcx on one link.
const ON_A_LINK: usize = 3;
const LINK: &str = "link";

/// A node with one link, and its cgroup.
struct Place {
    node: Namespace,
    beyond: Namespace,
    cgroup: Cgroup,
    pins: PathBuf,
}

/// What an agent does with a place.
struct Hold<'p> {
    place: &'p Place,
    attachments: Attachments,
    asked: Asked,
    _pins: Pins,
}

impl Place {
    fn new(name: &str) -> Self {
        let (node, beyond) = (Namespace::new("node").unwrap(), Namespace::new("beyond").unwrap());
        let pins = bpffs().join(format!("seaway-test-{name}-{}", process::id()));
        let place = Self { node, beyond, cgroup: Cgroup::new(name).unwrap(), pins };
        place.connect(LINK);
        place
    }

    /// The link, under a name, to nobody.
    fn connect(&self, name: &str) {
        Veth::new(End::new(&self.node, name), End::new(&self.beyond, "far")).connect().unwrap();
    }

    fn ip(&self, arguments: &[&str]) {
        let mut command = process::Command::new("ip");
        command.args(arguments);
        assert!(self.node.spawn(command).unwrap().wait(PATIENCE).unwrap().success(), "ip {arguments:?}");
    }

    /// An agent's programs, attached to an interface and to the cgroup.
    fn hold(&self, interface: &str) -> (Hold<'_>, Changes) {
        let pins = Pins::take(&self.pins).unwrap();
        let programs =
            Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, Some(&pins.maps())).unwrap();
        let asked = Asked {
            interfaces: BTreeSet::from([interface.to_owned()]),
            cgroup: Some(self.cgroup.path().to_owned()),
            ..Asked::default()
        };
        let attachments = Attachments::open(programs, &pins.links()).unwrap();
        let mut hold = Hold { place: self, attachments, asked, _pins: pins };
        let changes = hold.settle(Look::Links);
        (hold, changes)
    }

    /// What is behind the pins.
    fn installed(&self) -> Installed {
        self.node.run(|| attachments::read(&self.pins.join("links"))).unwrap().unwrap()
    }

    /// The link's id by pin. Filters have none.
    fn link_ids(&self) -> BTreeMap<String, u32> {
        self.installed().into_iter().map(|(pin, found)| (pin, found.link)).collect()
    }

    fn remove(&self) {
        let pins = Pins::take(&self.pins).unwrap();
        self.node.run(|| pins.remove()).unwrap().unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing is left of it after a test that passed.
        fs::remove_dir_all(&self.pins).ok();
    }
}

impl Hold<'_> {
    fn settle(&mut self, look: Look) -> Changes {
        let (attachments, asked) = (&mut self.attachments, &self.asked);
        self.place.node.run(|| attachments.settle(asked, look, Instant::now())).unwrap()
    }

    /// Everything that is asked for is attached, by the kernel's word too.
    #[track_caller]
    fn check(&self, interface: &str) {
        let states = self.attachments.states();
        assert!(states.iter().all(|state| state.missing.is_none()), "{states:#?}");
        let installed = self.place.installed();
        assert!(states.iter().all(|state| state.missing_by(&installed).is_none()), "{installed:#?}");
        let on = |state: &&attachments::State| state.interface.as_deref() == Some(interface);
        assert_eq!(states.iter().filter(on).count(), ON_A_LINK);
        assert_eq!(installed.len(), ON_A_LINK + SOCKET_HOOKS.len(), "{installed:#?}");
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
fn programs_outlive_their_agent_and_make_way_for_the_next_ones_behind_the_same_links() {
    privileged!();
    let place = Place::new("attach");
    let all = ON_A_LINK + SOCKET_HOOKS.len();
    let (mut first, changes) = place.hold(LINK);
    assert_eq!((changes.attached.len(), changes.updated.len()), (all, 0));
    first.check(LINK);
    let before = ids(first.attachments.programs());
    drop(first);
    assert_eq!(loaded(&before), before, "programs whose agent is gone");
    let links = place.link_ids();

    let (mut second, changes) = place.hold(LINK);
    assert_eq!((changes.attached.len(), changes.updated.len(), changes.removed.len()), (0, all, 0));
    second.check(LINK);
    assert_eq!(place.link_ids(), links, "links before and after a restart");
    let after = ids(second.attachments.programs());
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
    let (mut hold, _) = place.hold(LINK);
    let all = ids(hold.attachments.programs());
    hold.asked.interfaces.clear();
    hold.asked.pods.insert(LINK.to_owned());
    assert_eq!(hold.settle(Look::Names).removed, BTreeSet::from(["xdp_lb-link".to_owned()]));
    hold.asked.pods.clear();
    let gone = hold.settle(Look::Names).removed;
    assert_eq!(gone, BTreeSet::from(["tc_egress-link", "tc_ingress-link"].map(str::to_owned)));
    drop(hold);
    wait_for("programs of the interface to be gone", PATIENCE, || loaded(&all).len() == SOCKET_HOOKS.len());
    place.remove();
    wait_for("the socket hooks to be gone", PATIENCE, || loaded(&all).is_empty());
}

#[test]
fn interface_made_again_under_its_name_gets_its_programs_again() {
    privileged!();
    let place = Place::new("again");
    let (mut hold, _) = place.hold(LINK);
    for at_once in [false, true] {
        place.node.delete_link(LINK).unwrap();
        if !at_once {
            hold.settle(Look::Names);
            let missing = hold.attachments.states().into_iter().filter(|state| !state.served);
            assert!(
                missing.clone().all(|state| state.missing.as_deref() == Some("there is no such interface"))
            );
            assert_eq!(missing.count(), ON_A_LINK);
            assert_eq!(place.installed().len(), SOCKET_HOOKS.len(), "pins of an interface that is gone");
        }
        place.connect(LINK);
        assert_eq!(hold.settle(Look::Names).attached.len(), ON_A_LINK, "at once: {at_once}");
        hold.check(LINK);
    }
    drop(hold);
    place.remove();
}

#[test]
fn names_of_interfaces_may_have_dots_and_any_length() {
    privileged!();
    let place = Place::new("names");
    place.node.delete_link(LINK).unwrap();
    for name in ["ext0.100", "a-b.c-d", "fifteen.bytes.1"] {
        place.connect(name);
        let (hold, _) = place.hold(name);
        hold.check(name);
        drop(hold);
        let links = place.link_ids();
        let (hold, changes) = place.hold(name);
        hold.check(name);
        assert!(changes.attached.is_empty() && place.link_ids() == links, "{name}: {changes:?}");
        drop(hold);
        place.remove();
        place.node.delete_link(name).unwrap();
    }
}

/// Links know their interface by its index; filters do not, and are attached anew.
#[test]
fn renamed_interface_keeps_its_links() {
    privileged!();
    let place = Place::new("renamed");
    let (mut hold, _) = place.hold(LINK);
    if place.link_ids()["tc_ingress-link"] == 0 {
        drop(hold);
        place.remove();
        return skip(&test_name(module_path!()), "no tcx links");
    }
    let before: BTreeSet<u32> = place.link_ids().into_values().collect();
    place.node.set_down(LINK).unwrap();
    place.ip(&["link", "set", "dev", LINK, "name", "wan.0"]);
    place.node.set_up("wan.0").unwrap();
    hold.settle(Look::Names);
    let states = hold.attachments.states();
    let served = |state: &&attachments::State| state.missing.is_some() && state.served;
    assert_eq!(states.iter().filter(served).count(), ON_A_LINK, "{states:#?}");
    hold.asked.interfaces = BTreeSet::from(["wan.0".to_owned()]);
    hold.settle(Look::Names);
    hold.check("wan.0");
    assert_eq!(place.link_ids().into_values().collect::<BTreeSet<_>>(), before);
    drop(hold);
    place.remove();
}

#[test]
fn pins_that_are_removed_come_back() {
    privileged!();
    let place = Place::new("pins");
    let (mut hold, _) = place.hold(LINK);
    let links = place.pins.join("links");
    fs::remove_file(links.join("sock_connect4")).unwrap();
    fs::remove_file(links.join("tc_egress-link")).unwrap();
    wait_for("two attachments", PATIENCE, || {
        hold.settle(Look::Names);
        hold.attachments.states().iter().all(|state| state.missing.is_none())
    });
    hold.check(LINK);
    fs::remove_dir_all(&links).unwrap();
    // The kernel detaches a moment later; until then XDP has no place.
    wait_for("all attachments", PATIENCE, || {
        hold.settle(Look::Names);
        hold.attachments.states().iter().all(|state| state.missing.is_none())
    });
    hold.check(LINK);
    drop(hold);
    place.remove();
}

/// `bpftool` in the node's namespace; false where there is none.
fn bpftool(place: &Place, arguments: &[&str]) -> bool {
    let mut command = process::Command::new("bpftool");
    command.args(arguments).stdout(process::Stdio::null()).stderr(process::Stdio::null());
    let Ok(mut tool) = place.node.spawn(command) else { return false };
    tool.wait(PATIENCE).unwrap().success()
}

#[test]
fn links_that_are_detached_by_hand_are_found_by_an_audit() {
    privileged!();
    let place = Place::new("by-hand");
    let (mut hold, _) = place.hold(LINK);
    let links = place.pins.join("links");
    let pins = ["xdp_lb-link", "tc_ingress-link", "sock_connect6"];
    for pin in pins {
        let pin = links.join(pin);
        if !bpftool(&place, &["link", "detach", "pinned", pin.to_str().unwrap()]) {
            drop(hold);
            place.remove();
            return skip(&test_name(module_path!()), "needs bpftool, and links of all kinds");
        }
    }
    let installed = place.installed();
    let states = hold.attachments.states();
    let missing = states.iter().filter(|state| state.missing_by(&installed).is_some());
    assert_eq!(missing.count(), pins.len(), "{installed:#?}");
    assert_eq!(hold.settle(Look::Links).attached.len(), pins.len());
    hold.check(LINK);
    drop(hold);
    place.remove();
}

/// Something else behind the pins: links of another program, and no link at all.
#[test]
fn what_another_program_put_in_the_place_of_ours_makes_way() {
    privileged!();
    let place = Place::new("other");
    let (mut hold, _) = place.hold(LINK);
    let before = place.link_ids();
    // Another agent's programs on our links, as `bpf_link_update` puts them there.
    let folder = place.pins.join("links");
    let programs = Programs::load(&Probe::run().unwrap(), &MemoryMaps::CAPACITIES, None).unwrap();
    let mut other = Attachments::open(programs, &folder).unwrap();
    place.node.run(|| other.settle(&hold.asked, Look::Links, Instant::now())).unwrap();
    let installed = place.installed();
    let states = hold.attachments.states();
    assert!(
        states
            .iter()
            .filter(|state| state.link != 0)
            .all(|state| state.missing_by(&installed).unwrap_or_default().contains("another program"))
    );
    assert_eq!(hold.settle(Look::Links).updated.len(), states.len());
    hold.check(LINK);
    assert_eq!(place.link_ids(), before);
    // A map where a link should be.
    fs::remove_file(folder.join("sock_connect4")).unwrap();
    let map = place.pins.join("maps/CONFIG");
    aya::maps::MapData::from_pin(map).unwrap().pin(folder.join("sock_connect4")).unwrap();
    assert_eq!(hold.settle(Look::Links).attached.len(), 1);
    hold.check(LINK);
    drop((hold, other));
    place.remove();
}

#[test]
fn folders_of_others_among_the_links_stay() {
    privileged!();
    let place = Place::new("junk");
    let (mut hold, _) = place.hold(LINK);
    for name in ["junk-link", "tc_ingress-other"] {
        fs::create_dir(place.pins.join("links").join(name)).unwrap();
    }
    hold.settle(Look::Links);
    hold.check(LINK);
    drop(hold);
    place.remove();
    let entries = fs::read_dir(place.pins.join("links")).unwrap();
    let left: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, BTreeSet::from(["junk-link", "tc_ingress-other"].map(str::to_owned)));
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
