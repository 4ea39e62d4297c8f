//! A restart detaches nothing, and what somebody detaches comes back.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use seaway_harness::{privileged, wait_for};
use seaway_lab::probe::{Outcome, Probe, Prober, Transport};
use seaway_tests::nodes::case::{Case, DNS, From, NODE_DNS, NODE_WEB, WEB, node_port, vip, web};

const CONNECTIONS: usize = 200;
const RESTARTS: usize = 10;
const PATIENCE_MS: u64 = 8000;

/// Requests on open connections and datagrams, from outside, until told to stop: how many were sent, and
/// what became of those that were not answered.
fn keep_asking(case: &Case, stopped: &AtomicBool) -> (usize, Vec<String>) {
    let ask = || {
        let mut prober = Prober::default();
        let mut lost = Vec::new();
        let mut sent = 0;
        let mut gone = [false; CONNECTIONS];
        while !stopped.load(Ordering::Acquire) {
            for (number, is_gone) in gone.iter_mut().enumerate() {
                let family = number % 2;
                let (transport, to) = match number % 4 {
                    0 | 1 => (Transport::Tcp, node_port(family, NODE_WEB)),
                    2 => (Transport::UdpUnconnected, node_port(family, NODE_DNS)),
                    _ => (Transport::UdpUnconnected, vip(family, DNS)),
                };
                if *is_gone {
                    continue;
                }
                sent += 1;
                // A datagram is not repeated: one that is lost is found soon.
                let timeout_ms = if transport == Transport::Tcp { PATIENCE_MS } else { 1000 };
                let probe = Probe { flow: Some(number.to_string()), timeout_ms, ..Probe::new(transport, to) };
                let outcome = prober.ask(&probe);
                if !matches!(outcome, Outcome::Answered { .. }) {
                    *is_gone = transport == Transport::Tcp;
                    lost.push(format!("{transport:?} {to}: {outcome:?}"));
                }
                if stopped.load(Ordering::Acquire) {
                    break;
                }
            }
        }
        (sent, lost)
    };
    case.client().run(ask).unwrap()
}

/// The ids of the links that an agent has pinned.
fn links(case: &Case) -> BTreeMap<String, String> {
    let folder = case.setup.pin_dir().join("links");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let shown = Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(&path).output();
            let id = shown
                .map_or_else(|_| inode(&path), |shown| id_of(&shown.stdout).unwrap_or_else(|| inode(&path)));
            (name, id)
        })
        .collect()
}

fn id_of(text: &[u8]) -> Option<String> {
    let shown: serde_json::Value = serde_json::from_slice(text).ok()?;
    Some(shown.get("id")?.to_string())
}

/// A pin that was made anew is another file.
fn inode(path: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map_or_else(|error| error.to_string(), |file| format!("inode {}", file.ino()))
}

fn check_restarts(end: impl Fn(seaway_harness::Agent)) {
    let case = Case::new(&[1, 2]);
    let mut agent = case.start();
    let before = links(&case);
    assert!(before.len() > 4, "{before:?}");
    let stopped = AtomicBool::new(false);
    let (sent, lost) = thread::scope(|scope| {
        let asked = scope.spawn(|| keep_asking(&case, &stopped));
        for round in 0..RESTARTS {
            // Another moment of the agent's work each time.
            thread::sleep(Duration::from_millis(150 * u64::try_from(round).unwrap() + 50));
            end(agent);
            agent = case.start();
        }
        stopped.store(true, Ordering::Release);
        asked.join().unwrap()
    });
    assert_eq!(links(&case), before, "links before and after");
    println!("{sent} requests over {RESTARTS} restarts");
    assert!(sent > CONNECTIONS, "{sent}");
    assert!(lost.is_empty(), "{} of {sent} lost: {:#?}", lost.len(), lost.iter().take(8).collect::<Vec<_>>());
}

#[test]
fn row_restarts() {
    privileged!();
    check_restarts(|agent| assert!(agent.terminate().success()));
}

#[test]
fn row_killer() {
    privileged!();
    check_restarts(seaway_harness::Agent::kill);
}

/// Killed while it changes something and while it starts: what it leaves, the next one completes.
#[test]
fn row_killer_at_random_moments() {
    privileged!();
    let case = Case::new(&[1, 2, 3]);
    for round in 0..RESTARTS {
        let agent = case.setup.start_unready(case.node());
        let endpoints: &[usize] = [&[1, 2, 3][..], &[1, 2], &[1, 3], &[2, 3]][round % 4];
        case.setup.write("web.yaml", &web(endpoints, ""));
        thread::sleep(Duration::from_millis(137 * u64::try_from(round).unwrap()));
        agent.kill();
    }
    case.setup.write("web.yaml", &web(&[2], ""));
    let mut agent = case.start();
    assert_eq!(agent.status().warnings, Vec::<String>::new());
    for family in 0..2 {
        for from in [From::Client, From::Node, From::Pod(3), From::Machine(3)] {
            let to: SocketAddr =
                if from == From::Client { node_port(family, NODE_WEB) } else { vip(family, WEB) };
            for _ in 0..10 {
                assert_eq!(case.check_served(from, Transport::Tcp, to), "p2");
            }
        }
    }
}

/// Pins of links that are removed while the agent runs: links go with them, and are made again.
#[test]
fn row_pins() {
    privileged!();
    let case = Case::new(&[1]);
    let mut agent = case.start();
    let names: Vec<_> = links(&case).into_keys().collect();
    let served = |from: From, to| {
        let probe = Probe { timeout_ms: 400, ..Probe::new(Transport::Tcp, to) };
        case.prober(from).ask(&probe).unwrap().name().is_some()
    };
    for name in &names {
        fs::remove_file(case.setup.pin_dir().join("links").join(name)).unwrap();
        let began = Instant::now();
        wait_for(&format!("the pin of {name}"), Duration::from_secs(6), || links(&case).contains_key(name));
        println!("{name} is back after {:?}", began.elapsed());
    }
    fs::remove_dir_all(case.setup.pin_dir().join("links")).unwrap();
    wait_for("all pins", Duration::from_secs(6), || {
        case.setup.pin_dir().join("links").is_dir() && links(&case).into_keys().eq(names.iter().cloned())
    });
    for (from, to) in
        [(From::Client, node_port(0, NODE_WEB)), (From::Node, vip(0, WEB)), (From::Machine(3), vip(0, WEB))]
    {
        wait_for("service", Duration::from_secs(6), || served(from, to));
    }
    assert_eq!(agent.status().warnings, Vec::<String>::new());
}
