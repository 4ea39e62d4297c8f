//! `seaway apf` as users run it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/apf/flood").join(path)
}

fn seaway(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seaway")).arg("apf").args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn explain_names_schema_level_flow_hand_and_seats() {
    let account = ["--user", "system:serviceaccount:shop:a", "--group", "system:serviceaccounts"];
    let text = stdout(&seaway(&[&["explain"], &account[..], &["GET /api/v1/pods?limit=500"]].concat()));
    for part in ["list pods", "service-accounts", "workload-low", "245 nominal", "101 45 14 70 75 66"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let json = stdout(&seaway(&["explain", "-o", "json", "--user", "bob", "/healthz/etcd"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["exempt"]), (&"probes".into(), &true.into()));
}

#[test]
fn simulate_shows_what_fair_queues_do_for_mice_beside_a_flood() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let (load, fair, single) = (example("load.yaml"), example("fair"), example("single-queue"));
    let output = seaway(&[
        "simulate",
        load.to_str().unwrap(),
        "--config",
        fair.to_str().unwrap(),
        "--compare",
        single.to_str().unwrap(),
        "--server-seats=20",
        "-o=json",
        "--plot",
        plot.to_str().unwrap(),
    ]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(output.stderr.is_empty(), "no progress bar in a pipe");
    let wait = |run: usize| json["runs"][run]["lightWaitP99Ms"].as_f64().unwrap();
    assert!(wait(0) < 200.0, "mice wait {} ms beside the flood", wait(0));
    assert!(wait(1) > 1_000.0, "mice wait {} ms in a single queue", wait(1));
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("mouse-9"));
}

#[test]
fn simulate_replays_logs_with_the_old_limits() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let line = |second: u32, user: &str| {
        format!(
            "{{\"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/pods\",\"verb\":\"list\",\
             \"user\":{{\"username\":\"{user}\"}},\"requestReceivedTimestamp\":\"2026-01-02T03:04:{second:02}.000000Z\",\
             \"stageTimestamp\":\"2026-01-02T03:05:00.500000Z\"}}\n"
        )
    };
    std::fs::write(&log, line(1, "a") + &line(2, "b") + &line(3, "c")).unwrap();
    let log = log.to_str().unwrap();
    let text = stdout(&seaway(&["simulate", log, "--limiter=max-in-flight", "--max-requests-inflight=2"]));
    let row =
        |user: &str| text.lines().find(|line| line.starts_with(user)).unwrap().split_whitespace().nth(4);
    assert_eq!([row("a"), row("b"), row("c")], [Some("0"), Some("0"), Some("1")], "{text}");
}

#[test]
fn errors_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.yaml"), "{apiVersion: v1, kind: Pod}").unwrap();
    let output = seaway(&["explain", "--config", folder.path().to_str().unwrap(), "/version"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("x.yaml: document 1: apiVersion \"v1\" of kind \"Pod\""), "{message}");
    assert_eq!(seaway(&["explain"]).status.code(), Some(2));
}

/// Stops the proxy when the test ends, however it ends.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The proxy, its two addresses, and what it logs.
fn serve(args: &[&str], upstream: SocketAddr) -> (Proxy, SocketAddr, SocketAddr, Receiver<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seaway"))
        .args(["apf", "serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--server-seats=2"])
        .args(["--upstream", &format!("http://{upstream}")])
        .args(args)
        .env("NO_COLOR", "1")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let proxy = Proxy(child);
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let (log, logged) = channel();
    // Goes on reading when nobody listens any more, so that the proxy does not block on a full pipe.
    std::thread::spawn(move || lines.for_each(|line| drop(log.send(line))));
    let mut addresses = line.split("http://").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(rest.len());
        rest[..end].parse().unwrap()
    });
    let (listen, admin) = (addresses.next().unwrap(), addresses.next().unwrap());
    (proxy, listen, admin, logged)
}

/// A server that answers each request after `delay`, one thread per connection.
fn upstream(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if line == "\r\n" {
                        std::thread::sleep(delay);
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n").unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn serve_limits_shows_and_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("level.yaml");
    let objects = |name: &str| {
        std::fs::read_to_string(example("fair/tenants.yaml"))
            .unwrap()
            .replace("name: tenants", &format!("name: {name}"))
            .replacen(&format!("name: {name}\n    resourceRules"), "name: '*'\n    resourceRules", 1)
            .replace("queues: 64", "queues: 2")
            .replace("handSize: 6", "handSize: 1")
            .replace("queueLengthLimit: 50", "queueLengthLimit: 1")
    };
    std::fs::write(&file, objects("first")).unwrap();
    let upstream = upstream(Duration::from_millis(500));
    let (_proxy, listen, admin, logged) = serve(&["--config", folder.path().to_str().unwrap()], upstream);
    let calls: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || get(listen, "/api/v1/namespaces/a/pods/p"))).collect();
    let replies: Vec<String> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    let with = |status: &str| replies.iter().filter(|reply| reply.starts_with(status)).count();
    // Two seats and a queue of one; who comes when is up to the machine, so more may be served in turn.
    assert!(with("HTTP/1.1 200") >= 3, "{replies:?}");
    assert_eq!(with("HTTP/1.1 200") + with("HTTP/1.1 429"), 8, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.to_lowercase().contains("x-kubernetes-pf-flowschema-uid")));

    let metrics = get(admin, "/metrics");
    assert!(
        metrics.contains("dispatched_requests_total{flow_schema=\"first\",priority_level=\"first\"}"),
        "{metrics}"
    );
    let levels = get(admin, "/debug/api_priority_and_fairness/dump_priority_levels");
    assert!(levels.contains("PriorityLevelName, ActiveQueues, IsIdle"), "{levels}");

    std::fs::write(&file, "kind: [").unwrap();
    std::fs::write(folder.path().join("second.yaml"), objects("second")).unwrap();
    // The broken file keeps all of the folder out.
    loop {
        let line = logged.recv_timeout(DEADLINE).unwrap();
        if line.contains("the configuration stays as it was") {
            break;
        }
    }
    assert!(!get(admin, "/metrics").contains("priority_level=\"second\""));
    std::fs::write(&file, objects("first")).unwrap();
    until("the second level", || {
        get(admin, "/metrics").contains("nominal_limit_seats{priority_level=\"second\"}")
    });
}

#[test]
fn serve_can_limit_the_old_way() {
    let upstream = upstream(Duration::from_millis(1_000));
    let (_proxy, listen, ..) = serve(&["--limiter=max-in-flight", "--max-requests-inflight=1"], upstream);
    let first = std::thread::spawn(move || get(listen, "/api/v1/pods"));
    until("a refusal", || get(listen, "/api/v1/pods").starts_with("HTTP/1.1 429") || first.is_finished());
    assert!(first.join().unwrap().starts_with("HTTP/1.1"));
}

#[test]
fn serve_knows_clients_by_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (authority, server, client) = certificates();
    std::fs::write(path("ca.pem"), &authority).unwrap();
    std::fs::write(path("cert.pem"), &server.0).unwrap();
    std::fs::write(path("key.pem"), &server.1).unwrap();
    let upstream = upstream(Duration::ZERO);
    let flags = [
        format!("--tls-cert={}", path("cert.pem")),
        format!("--tls-key={}", path("key.pem")),
        format!("--client-ca={}", path("ca.pem")),
    ];
    let (_proxy, listen, admin, _log) = serve(&flags.each_ref().map(String::as_str), upstream);
    let reply = get_tls(listen, &authority, &client);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    // The certificate's organization is system:nodes; the header names somebody else.
    let metrics = get(admin, "/metrics");
    let row = "dispatched_requests_total{flow_schema=\"system-node-high\",priority_level=\"node-high\"} 1";
    assert!(metrics.contains(row), "{metrics}");
}

/// An authority, and certificates with keys of a server and a node, all PEM.
fn certificates() -> (String, (String, String), (String, String)) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).unwrap().pem();
    let issuer = Issuer::new(params, own);
    let issue = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let server = issue(CertificateParams::new(["localhost".to_owned()]).unwrap());
    let mut node = CertificateParams::default();
    node.distinguished_name.push(DnType::CommonName, "system:node:n1");
    node.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    (authority, server, issue(node))
}

fn get_tls(address: SocketAddr, authority: &str, own: &(String, String)) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(own.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.1.as_bytes()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let request =
        "GET /api/v1/nodes/n1 HTTP/1.1\r\nHost: localhost\r\nX-Remote-User: eve\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    // Some servers close without saying goodbye; what came before counts.
    stream.read_to_end(&mut reply).ok();
    String::from_utf8(reply).unwrap()
}
