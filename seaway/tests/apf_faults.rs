//! Faults that operators and clients found in `seaway apf serve`, one test each, by their numbers.

#[path = "apf/certificates.rs"]
mod certificates;
#[path = "apf/proxy.rs"]
mod proxy;

use certificates::{certificates, get_tls};
use proxy::{DEADLINE, get, serve, serve_under, until, upstream};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A server that answers every request with `reply` and tells what it read, head by head.
fn recording(reply: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, heads) = (stream.unwrap(), heads.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(head) = head(&mut reader) {
                    heads.send(head).ok();
                    stream.write_all(reply.as_bytes()).ok();
                }
            });
        }
    });
    (address, seen)
}

/// The next request or response up to its empty line.
fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    Some(head)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn signal(proxy: &proxy::Proxy, signal: Signal) {
    let pid = Pid::from_raw(proxy.0.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn f1_running_out_of_descriptors_ends_no_service() {
    let upstream = upstream(Duration::ZERO);
    let (_proxy, listen, _, log) = serve_under("ulimit -n 64", &[], upstream);
    let idle: Vec<_> = (0..80).map(|_| connect(listen)).collect();
    while !log.recv_timeout(DEADLINE).unwrap().contains("cannot accept connections") {}
    drop(idle);
    assert!(get(listen, "/version").starts_with("HTTP/1.1 200"), "the proxy serves again");
}

#[test]
fn f7_a_configuration_is_followed_however_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let tenants = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/apf/flood/fair/tenants.yaml");
    let objects = |name: &str| {
        std::fs::read_to_string(&tenants).unwrap().replace("name: tenants", &format!("name: {name}"))
    };
    let shows = |admin, name: &str| {
        until(name, || {
            get(admin, "/metrics").contains(&format!("nominal_limit_seats{{priority_level=\"{name}\"}}"))
        });
    };
    let upstream = upstream(Duration::ZERO);

    // A file, replaced by rename, twice and more.
    let (file, next) = (folder.path().join("flows.yaml"), folder.path().join("next"));
    std::fs::write(&file, objects("first")).unwrap();
    let (_proxy, _, admin, _log) = serve(&["--config", file.to_str().unwrap()], upstream);
    for name in ["second", "third", "fourth"] {
        std::fs::write(&next, objects(name)).unwrap();
        std::fs::rename(&next, &file).unwrap();
        shows(admin, name);
    }

    // A mounted ConfigMap: the files are links through `..data`, which is replaced.
    let mount = folder.path().join("mount");
    for name in ["one", "two", "three"] {
        let version = mount.join(format!("..{name}"));
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("flows.yaml"), objects(name)).unwrap();
    }
    let point = |name: &str| {
        std::os::unix::fs::symlink(format!("..{name}"), mount.join("..tmp")).unwrap();
        std::fs::rename(mount.join("..tmp"), mount.join("..data")).unwrap();
    };
    point("one");
    std::os::unix::fs::symlink("..data/flows.yaml", mount.join("flows.yaml")).unwrap();
    let (_proxy, _, admin, log) = serve(&["--config", mount.to_str().unwrap()], upstream);
    for name in ["two", "three"] {
        point(name);
        shows(admin, name);
    }

    // The folder is gone, or empty: the last good objects stay, loudly.
    std::fs::rename(&mount, folder.path().join("away")).unwrap();
    while !log.recv_timeout(DEADLINE).unwrap().contains("keeping the previous one") {}
    std::fs::create_dir(&mount).unwrap();
    while !log.recv_timeout(DEADLINE).unwrap().contains("holds no FlowSchema") {}
    shows(admin, "three");
    std::fs::write(mount.join("flows.yaml"), objects("again")).unwrap();
    shows(admin, "again");
}

#[test]
fn f9_a_request_in_segments_waits_for_no_acknowledgement() {
    let upstream = upstream(Duration::ZERO);
    let (_proxy, listen, ..) = serve(&[], upstream);
    let mut stream = connect(listen);
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        for part in ["GET /x HTTP/1.1\r\n", "Host: x\r\nX-Remote-User: ann\r\n", "\r\n"] {
            stream.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        head(&mut reader).unwrap();
        reader.read_exact(&mut [0; 3]).unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    // Delayed acknowledgements take 40 ms.
    assert!(times[times.len() / 2] < Duration::from_millis(30), "{times:?}");
}

#[test]
fn f11_a_signal_loses_no_request() {
    for stop in [Signal::TERM, Signal::INT] {
        let upstream = upstream(Duration::from_millis(700));
        let (mut proxy, listen, admin, log) = serve(&[], upstream);
        let call = std::thread::spawn(move || get(listen, "/version"));
        until("the request in flight", || {
            let metrics = get(admin, "/metrics");
            metrics.lines().any(|line| line.contains("current_executing_requests{") && line.ends_with(" 1"))
        });
        signal(&proxy, stop);
        while !log.recv_timeout(DEADLINE).unwrap().contains("finishing requests in flight") {}
        let reply = call.join().unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{stop:?}: {reply:?}");
        assert!(proxy.0.wait().unwrap().success());
    }
}

#[test]
fn f12_the_server_behind_hears_of_the_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (authority, server, client) = certificates();
    std::fs::write(path("ca.pem"), &authority).unwrap();
    std::fs::write(path("cert.pem"), &server.0).unwrap();
    std::fs::write(path("key.pem"), &server.1).unwrap();
    let (upstream, seen) = recording("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
    let flags = [
        format!("--tls-cert={}", path("cert.pem")),
        format!("--tls-key={}", path("key.pem")),
        format!("--client-ca={}", path("ca.pem")),
    ];
    let (_proxy, listen, ..) = serve(&flags.each_ref().map(String::as_str), upstream);
    // The client sends a header that names somebody else.
    assert!(get_tls(listen, &authority, &client).starts_with("HTTP/1.1 200"));
    let head = seen.recv_timeout(DEADLINE).unwrap().to_lowercase();
    assert!(head.contains("x-remote-user: system:node:n1\r\n"), "{head}");
    assert!(head.contains("x-remote-group: system:nodes\r\n"), "{head}");
    assert!(!head.contains("eve"), "{head}");
}

#[test]
fn f13_schemas_may_name_the_mandatory_levels() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("health.yaml"),
        "apiVersion: flowcontrol.apiserver.k8s.io/v1\nkind: FlowSchema\nmetadata: {name: health-for-strangers}\n\
         spec:\n  matchingPrecedence: 1000\n  priorityLevelConfiguration: {name: exempt}\n  rules:\n  \
         - nonResourceRules: [{nonResourceURLs: [/healthz, /livez, /readyz], verbs: ['*']}]\n    \
         subjects: [{kind: Group, group: {name: 'system:unauthenticated'}}]\n",
    )
    .unwrap();
    let (_proxy, listen, admin, _log) =
        serve(&["--config", folder.path().to_str().unwrap()], upstream(Duration::ZERO));
    let mut stream = connect(listen);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(head(&mut BufReader::new(stream)).unwrap().starts_with("HTTP/1.1 200"));
    let row = "dispatched_requests_total{flow_schema=\"health-for-strangers\",priority_level=\"exempt\"} 1";
    assert!(get(admin, "/metrics").contains(row));
}

#[test]
fn f15_what_is_about_one_connection_goes_no_further() {
    let (upstream, seen) = recording(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nX-End: 1\r\n\r\nhi\n",
    );
    let (_proxy, listen, ..) = serve(&[], upstream);
    let mut stream = connect(listen);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    // Twice: the client's connection stays open, whatever the server behind says about its own.
    for _ in 0..2 {
        let request = "GET http://other.example/x HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\nConnection: x-secret\r\n\
                       X-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-End: 1\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let reply = head(&mut reader).unwrap().to_lowercase();
        reader.read_exact(&mut [0; 3]).unwrap();
        assert!(reply.contains("x-end: 1"), "{reply}");
        for field in ["x-hop", "keep-alive", "proxy-authenticate", "connection:"] {
            assert!(!reply.contains(field), "{field} in {reply}");
        }
        let asked = seen.recv_timeout(DEADLINE).unwrap().to_lowercase();
        assert!(asked.starts_with("get /x http/1.1\r\n") && asked.contains("x-end: 1"), "{asked}");
        assert!(asked.contains("host: other.example\r\n"), "{asked}");
        for field in ["x-secret", "keep-alive", "te:", "upgrade"] {
            assert!(!asked.contains(field), "{field} in {asked}");
        }
    }
    // HTTP/1.0 in front is HTTP/1.1 behind.
    let mut old = connect(listen);
    old.write_all(b"GET /x HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    assert!(head(&mut BufReader::new(old)).is_some());
    assert!(seen.recv_timeout(DEADLINE).unwrap().starts_with("GET /x HTTP/1.1\r\n"));
    // No host, or two.
    for request in ["GET /x HTTP/1.1\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"] {
        let mut stream = connect(listen);
        stream.write_all(request.as_bytes()).unwrap();
        let reply = head(&mut BufReader::new(stream)).unwrap();
        assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    }
}

#[test]
fn f17_upgraded_connections_are_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let asked = head(&mut reader).unwrap().to_lowercase();
        assert!(asked.contains("upgrade: websocket") && asked.contains("connection: upgrade"), "{asked}");
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(agreed.as_bytes()).unwrap();
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let (_proxy, listen, admin, _log) = serve(&[], upstream);
    let mut stream = connect(listen);
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let reply = head(&mut reader).unwrap().to_lowercase();
    assert!(reply.starts_with("http/1.1 101") && reply.contains("upgrade: websocket"), "{reply}");
    stream.write_all(b"ping").unwrap();
    let mut echo = [0; 4];
    reader.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"ping");
    let metrics = get(admin, "/metrics");
    assert!(
        metrics
            .lines()
            .filter(|line| line.contains("current_executing_requests{"))
            .all(|line| line.ends_with(" 0")),
        "an upgraded connection holds no seats"
    );
}
