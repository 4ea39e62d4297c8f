//! `seaway dns` in a network of its own, following an API server there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use seaway_harness::{ApiBehaviour, ApiServer, seaway_binary, wait_for};
use seaway_lab::{Namespace, Process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::query::{ANSWER_WITHIN, Answer, Over, ask};

/// Long enough for a loaded machine; a test that reaches it has failed anyway.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Where the server of [`Names`] answers.
pub const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// Ports of its pages.
pub const HEALTH: u16 = 8080;
/// `/ready`
pub const READY: u16 = 8181;
/// `/metrics`
pub const METRICS: u16 = 9153;

/// A server and the cluster that it tells of.
#[derive(Debug)]
pub struct Names {
    /// The cluster.
    pub api: ApiServer,
    /// Where both are.
    pub namespace: Namespace,
    dir: TempDir,
    server: Process,
}

impl Names {
    /// Starts both, the server after the cluster is `prepared`; nothing is answered yet. The Corefile
    /// listens on 127.0.0.1.
    ///
    /// # Panics
    /// When something cannot be started.
    pub fn start(corefile: &str, behaviour: ApiBehaviour, prepared: impl FnOnce(&ApiServer)) -> Self {
        let namespace = Namespace::new("names").expect("a namespace");
        let listener = namespace.run(|| TcpListener::bind("127.0.0.1:0")).expect("the namespace");
        let api = ApiServer::serve(listener.expect("a port"), behaviour);
        prepared(&api);
        let dir = TempDir::with_prefix("seaway-names-").expect("a temporary folder");
        let file = |name: &str| dir.path().join(name);
        api.write_kubeconfig(&file("kubeconfig"), None);
        fs::write(file("Corefile"), corefile).expect("the Corefile");
        let log = File::create(file("log")).expect("a log");
        let mut command = Command::new(seaway_binary());
        command.args(["dns", "--threads", "1", "--corefile"]).arg(file("Corefile"));
        command.arg("--kubeconfig").arg(file("kubeconfig")).stdin(Stdio::null()).stderr(log);
        let server = namespace.spawn(command).unwrap_or_else(|error| panic!("{error}"));
        Self { api, namespace, dir, server }
    }

    /// What it answers now.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    pub fn ask(&self, over: Over, name: &str, v6: bool) -> std::io::Result<Answer> {
        self.namespace.run(|| ask(over, SERVER, name, v6)).expect("the namespace")
    }

    /// Waits until a name has these IPv4 addresses, over UDP and TCP.
    ///
    /// # Panics
    /// When that does not happen; the message has the log.
    pub fn until(&self, name: &str, rcode: u8, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let expected = Answer { rcode, addresses };
        for over in [Over::Udp, Over::Tcp] {
            let mut last = None;
            let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_for(name, PATIENCE, || {
                    last = self.ask(over, name, false).ok();
                    last.as_ref() == Some(&expected)
                });
            }));
            assert!(met.is_ok(), "{name}: {last:?} instead of {expected:?}; the log:\n{}", self.log());
        }
    }

    /// What a page says: status and body; nothing when nobody answers.
    ///
    /// # Panics
    /// When the namespace cannot be entered.
    pub fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        self.namespace.run(|| page((Ipv4Addr::LOCALHOST, port).into(), path)).expect("the namespace").ok()
    }

    /// Waits for a page with this status and text.
    ///
    /// # Panics
    /// When it does not come; the message has the log.
    pub fn until_page(&self, (port, path): (u16, &str), status: u16, part: &str) {
        let mut last = None;
        let deadline = std::time::Instant::now() + PATIENCE;
        while !last
            .as_ref()
            .is_some_and(|(code, body): &(u16, String)| *code == status && body.contains(part))
        {
            assert!(
                std::time::Instant::now() < deadline,
                "{path}: {last:?} instead of {status} {part:?}; the log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
            last = self.page(port, path);
        }
    }

    /// The value of a metric, given with its labels; 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.page(METRICS, "/metrics").map(|(_, text)| text).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The server.
    pub fn server(&mut self) -> &mut Process {
        &mut self.server
    }
}

/// A GET over HTTP: status and body.
///
/// # Errors
/// When there is no whole answer.
pub fn page(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: seaway\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("half an answer"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| std::io::Error::other("no status"))?, body.to_owned()))
}

/// A Namespace, without which its Services have no names.
pub fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}
