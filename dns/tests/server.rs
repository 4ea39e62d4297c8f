//! The server on the loopback interface: what it does about upstreams, changes and pages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seaway_cluster::freshness::{Freshness, STALE_AFTER};
use seaway_cluster::{Snapshot, Update};
use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::server::{Listener, Server, ServerOptions, Service};
use seaway_dns::wire::kind;
use tokio::runtime::Runtime;

const PORT: u16 = 53;
/// Far more than any answer takes, on however loaded a machine.
const DEADLINE: Duration = Duration::from_secs(20);
const SERVICE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n---\napiVersion: v1\n\
                       kind: Service\nmetadata: {name: web, namespace: default}\nspec: {clusterIP: ADDRESS}\n";
const WEB: &str = "web.default.svc.cluster.local.";

struct Running {
    service: Arc<Service>,
    feed: Feed,
    socket: UdpSocket,
    server: Option<Server>,
    _runtime: Runtime,
}

impl Running {
    fn start(plugins: &str) -> Self {
        let text = format!(".:{PORT} {{\nbind 127.0.0.1\nkubernetes cluster.local\n{plugins}\n}}\n");
        let engine = Engine::new(corefile::parse(&text, Path::new(".")).unwrap());
        let feed = Feed::new(&engine);
        let service = Service::new(engine);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), place: PORT.into() };
        let server = Server::start(&service, &[listener], ServerOptions { threads: 1 }).unwrap();
        drop(entered);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server.addresses()[0]).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { service, feed, socket, server: Some(server), _runtime: runtime }
    }

    fn web_is_at(&mut self, address: &str) {
        let (snapshot, warnings) = Snapshot::from_manifests(&SERVICE.replace("ADDRESS", address));
        assert_eq!(warnings, []);
        self.feed.update(&self.service.engine(), &Arc::new(snapshot), 1);
    }

    /// The response code, and the last four octets of the answer.
    fn ask(&self, name: &str) -> (u8, [u8; 4]) {
        self.socket.send(&query(name)).unwrap();
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).expect("an answer");
        (buffer[3] & 15, *buffer[..length].last_chunk().unwrap())
    }
}

fn query(text: &str) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, u8::try_from(kind::A).unwrap(), 0, 1]);
    message
}

/// An upstream that answers with 192.0.2.1, as often as told, and what it counted.
fn upstream(answers: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if counted.fetch_add(1, Ordering::SeqCst) >= answers {
                continue;
            }
            let mut message = buffer[..length].to_vec();
            message[2] |= 0x80;
            message[7] = 1;
            message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1]);
            if socket.send_to(&message, peer).is_err() {
                return;
            }
        }
    });
    (address, count)
}

/// A place where nobody answers.
fn nobody() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket)
}

#[test]
fn a_change_is_visible_to_the_next_query() {
    let mut running = Running::start("");
    assert_eq!(running.ask(WEB).0, 2, "before the first facts");
    running.web_is_at("10.0.0.1");
    assert_eq!(running.ask(WEB), (0, [10, 0, 0, 1]));
    running.web_is_at("10.0.0.2");
    assert_eq!(running.ask(WEB), (0, [10, 0, 0, 2]));
    assert_eq!(running.ask("gone.default.svc.cluster.local.").0, 3);
}

#[test]
fn kept_answers_do_not_ask_again() {
    let (address, count) = upstream(usize::MAX);
    let running = Running::start(&format!("forward . {address}\ncache 30"));
    for name in ["a.example.", "a.example.", "A.eXample."] {
        assert_eq!(running.ask(name), (0, [192, 0, 2, 1]), "{name}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(running.ask("b.example."), (0, [192, 0, 2, 1]));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn an_upstream_that_is_silent_gives_way_to_the_next() {
    let ((silent, _socket), (address, _)) = (nobody(), upstream(usize::MAX));
    let running = Running::start(&format!("forward . {silent} {address} {{\npolicy sequential\n}}"));
    assert_eq!(running.ask("a.example."), (0, [192, 0, 2, 1]));
}

#[test]
fn a_silent_upstream_leaves_cluster_names_alone() {
    let (silent, _socket) = nobody();
    let mut running = Running::start(&format!("forward . {silent} {{\nread_timeout 100ms\n}}"));
    running.web_is_at("10.0.0.1");
    running.socket.send(&query("a.example.")).unwrap();
    // The cluster's name is answered first, although it was asked for later.
    assert_eq!(running.ask(WEB), (0, [10, 0, 0, 1]));
    let mut buffer = [0; 512];
    running.socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[3] & 15, 2, "the other fails in the end");
}

#[test]
fn queries_beyond_max_concurrent_are_refused() {
    let (silent, _socket) = nobody();
    let plugins = format!("forward . {silent} {{\nmax_concurrent 1\nread_timeout 500ms\n}}");
    let running = Running::start(&plugins);
    running.socket.send(&query("a.example.")).unwrap();
    running.socket.send(&query("b.example.")).unwrap();
    let mut codes = [0, 0];
    for code in &mut codes {
        let mut buffer = [0; 512];
        running.socket.recv(&mut buffer).unwrap();
        *code = buffer[3] & 15;
    }
    assert_eq!(codes, [5, 2]);
}

#[test]
fn pages_tell_liveness_readiness_and_counts() {
    // Ports that were free a moment ago.
    let ports: Vec<std::net::TcpListener> =
        (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [health, ready, metrics] = [0, 1, 2].map(|place| ports[place].local_addr().unwrap());
    drop(ports);
    let mut running = Running::start(&format!("health {health}\nready {ready}\nprometheus {metrics}"));
    assert_eq!(page(health, "/health"), (200, "OK".to_owned()));
    assert_eq!(page(ready, "/ready"), (503, "kubernetes".to_owned()));
    running.web_is_at("10.0.0.1");
    assert_eq!(page(ready, "/ready"), (200, "OK".to_owned()));
    assert_eq!(running.ask(WEB).0, 0);
    let expected = "coredns_dns_requests_total{server=\"dns://:53\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"} 1";
    let text = eventually(|| Some(page(metrics, "/metrics").1).filter(|text| text.contains(expected)));
    assert!(text.contains("coredns_dns_responses_total{"), "{text}");
    for name in ["health", "kubernetes", "prometheus", "ready"] {
        let enabled =
            format!("coredns_plugin_enabled{{server=\"dns://:53\",zone=\".\",view=\"\",name=\"{name}\"}} 1");
        assert!(text.contains(&enabled), "{enabled} in {text}");
    }
    assert!(text.contains("coredns_reload_version_info{hash=\"siphash\",value=\""), "{text}");
    assert!(text.contains("coredns_health_request_failures_total 0"), "{text}");
    let asked = |text: &String| {
        let count =
            text.lines().find_map(|line| line.strip_prefix("coredns_health_request_duration_seconds_count "));
        count.is_some_and(|count| count != "0")
    };
    eventually(|| Some(page(metrics, "/metrics").1).filter(asked));
    running.service.stop();
    assert_eq!(page(ready, "/ready"), (503, "stopping".to_owned()));
    assert_eq!(running.ask(WEB).0, 0, "it goes on answering until it is ended");
    running.server.take().unwrap().stop();
}

#[test]
fn facts_that_nobody_confirms_make_a_server_unready_unless_once_is_enough() {
    let (now, kind) = (Instant::now(), seaway_cluster::Kind::Service);
    let stale = Some("kubernetes: Service objects were not confirmed for 301 s".to_owned());
    for (monitor, later) in
        [("", stale.clone()), ("monitor continuously", stale), ("monitor until-ready", None)]
    {
        let mut running = Running::start(&format!("ready 127.0.0.1:0 {{\n{monitor}\n}}"));
        let freshness = Freshness::default();
        running.service.follow(&Update { freshness: freshness.clone(), ..Update::default() });
        freshness.confirm(kind, now);
        assert_eq!(running.service.unready(now).as_deref(), Some("kubernetes"), "{monitor}");
        running.web_is_at("10.0.0.1");
        assert_eq!(running.service.unready(now), None, "{monitor}");
        let late = now + STALE_AFTER + Duration::from_secs(1);
        assert_eq!(running.service.unready(late), later, "{monitor}");
        freshness.confirm(kind, late);
        assert_eq!(running.service.unready(late), None, "{monitor}");
        assert_eq!(running.ask(WEB).0, 0);
    }
}

/// What comes in the end; an answer is counted after it has been sent.
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come");
        std::thread::yield_now();
    }
}

fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
