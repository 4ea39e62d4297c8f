//! `seaway apf serve` as a child process, a server behind it, and a client in front.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Stops the proxy when the test ends, however it ends.
pub(crate) struct Proxy(pub(crate) Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The proxy, its two addresses, and what it logs.
pub(crate) fn serve(
    args: &[&str],
    upstream: SocketAddr,
) -> (Proxy, SocketAddr, SocketAddr, Receiver<String>) {
    serve_under("true", args, upstream)
}

/// As [`serve`], after a shell has done something about itself.
pub(crate) fn serve_under(
    prelude: &str,
    args: &[&str],
    upstream: SocketAddr,
) -> (Proxy, SocketAddr, SocketAddr, Receiver<String>) {
    let mut child = Command::new("sh")
        .args(["-c", &format!("{prelude}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_seaway")])
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
pub(crate) fn upstream(delay: Duration) -> SocketAddr {
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

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Remote-User: ann\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}
