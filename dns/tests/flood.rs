//! Three times as many queries for a silent upstream as may wait: memory stays flat, names of the cluster
//! are answered all the while, and what is shed is counted. Alone in its process, whose memory it measures.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::server::{Listener, Server, ServerOptions, Service};

/// Queries that may wait at once (`server::service`).
const WAITING_MAX: u64 = 4096;
/// A query waits this long for an upstream that is silent (`forward`).
const GIVEN_UP: Duration = Duration::from_secs(5);
/// Queries between two for a name of the cluster: fewer than a socket's buffer holds.
const BURST: u64 = 64;
const DEADLINE: Duration = Duration::from_secs(60);
/// Floods until all tasks have run at once.
const FLOODS_MAX: u64 = 10;
/// Growth by a flood once all places were taken: less than a tenth of what waits takes.
const GROWTH_KB_MAX: u64 = 4096;
const FACTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n---\napiVersion: v1\n\
                     kind: Service\nmetadata: {name: web, namespace: default}\nspec: {clusterIP: 10.0.0.1}\n";

fn query(id: u16, text: &str) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Flood {
    service: Arc<Service>,
    flood: UdpSocket,
    web: UdpSocket,
    sent: u64,
}

impl Flood {
    /// Sends queries for names elsewhere, and asks for one of the cluster's after each burst.
    fn run(&mut self, queries: u64) {
        let mut answer = [0; 512];
        for burst in 0..queries / BURST {
            for _ in 0..BURST {
                let name = format!("n{}.example.", self.sent);
                self.flood.send(&query(1, &name)).unwrap();
                self.sent += 1;
            }
            let id = u16::try_from(burst).unwrap();
            self.web.send(&query(id, "web.default.svc.cluster.local.")).unwrap();
            // The thread takes datagrams in their order: with this answer it has dealt with the burst.
            let length = self.web.recv(&mut answer).expect("an answer for a name of the cluster");
            assert_eq!(
                (&answer[..2], &answer[length - 4..length]),
                (&id.to_be_bytes()[..], &[10, 0, 0, 1][..])
            );
        }
    }

    fn shed(&self) -> u64 {
        self.service.metrics().shed.load(Ordering::Relaxed)
    }
}

#[test]
fn a_flood_at_three_times_what_may_wait_is_shed_and_costs_no_memory() {
    // Each of them has a socket of its own to the upstream.
    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--nofile=8192"]).status();
    assert!(raised.is_ok_and(|status| status.success()), "needs 8192 open files: see `ulimit -n`");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!(
        ".:53 {{\nbind 127.0.0.1\nkubernetes cluster.local\nforward . {} {{\nread_timeout 60s\nmax_fails 0\n}}\n}}\n",
        silent.local_addr().unwrap()
    );
    let engine = Engine::new(corefile::parse(&text, Path::new(".")).unwrap());
    let mut feed = Feed::new(&engine);
    let service = Service::new(engine);
    feed.update(&service.engine(), &Arc::new(Snapshot::from_manifests(FACTS).0), 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let entered = runtime.enter();
    let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), place: 53.into() };
    let server = Server::start(&service, &[listener], ServerOptions { threads: 1 }).unwrap();
    drop(entered);
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server.addresses()[0]).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    };
    let mut flood = Flood { service, flood: client(), web: client(), sent: 0 };
    let begun = Instant::now();
    let check_shed = |flood: &Flood| {
        // Places are taken by at most so many at once, each for as long as it takes to give up.
        let turns = begun.elapsed().as_secs() / GIVEN_UP.as_secs() + 1;
        let waited = flood.sent - flood.shed();
        assert!(waited <= turns * WAITING_MAX, "{waited} of {} waited in {turns} turns", flood.sent);
    };
    // Every place is taken at the first flood, but what that takes is there only once all of the tasks
    // have run, whenever that is. A flood that left something behind would leave it each time.
    let mut before = resident_kb();
    let flat = (0..FLOODS_MAX).any(|number| {
        flood.run(3 * WAITING_MAX);
        check_shed(&flood);
        let after = resident_kb();
        println!("resident {before} kB, then {after} kB; shed {}", flood.shed());
        let grown = after.saturating_sub(std::mem::replace(&mut before, after));
        number > 0 && grown <= GROWTH_KB_MAX
    });
    assert!(flat, "memory grew with each of {FLOODS_MAX} floods");

    // Once the upstream is given up, there is room again: the next query gets an answer, if a poor one.
    let deadline = Instant::now() + DEADLINE;
    let mut answer = [0; 512];
    let shed = flood.shed();
    flood.flood.set_read_timeout(Some(GIVEN_UP)).unwrap();
    while flood.flood.recv(&mut answer).is_err() {
        assert!(Instant::now() < deadline, "nothing is answered after the flood");
    }
    assert_eq!((answer[3] & 15, flood.shed()), (2, shed));
    server.stop();
    runtime.shutdown_background();
}
