//! Open connections and datagrams through a node, for as long as something is done to it: each that is lost
//! counts.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::network::{BOTH, ECHO_TCP, Network, vip};

/// Nobody answers any more.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// Threads that ask over connections, and threads that send datagrams.
const THREADS: usize = 4;
/// Datagrams of one socket; the next one is a new flow.
const DATAGRAMS_PER_FLOW: usize = 50;
/// Sockets of one thread that sends datagrams.
const FLOWS_MAX: usize = 100;
/// Between two of a thread: the machine has other things to do.
const PAUSE: Duration = Duration::from_millis(2);

/// How much of each.
#[derive(Clone, Copy, Debug)]
pub struct Endurance {
    /// Connections that are open all the time.
    pub streams: usize,
    /// Datagrams that are sent at least.
    pub datagrams: u64,
}

/// What goes on.
#[derive(Debug)]
pub struct Run {
    datagrams: u64,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Lines that were answered over the connections.
    pub lines: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// What was lost, each with the reason.
    pub lost: Vec<String>,
}

#[derive(Debug, Default)]
struct Counts {
    lines: AtomicU64,
    datagrams: AtomicU64,
    enough: AtomicBool,
}

impl Endurance {
    /// Opens the connections from outside of the node, in both families, and begins to ask.
    ///
    /// # Panics
    /// When a connection cannot be opened.
    pub fn start(self, network: &Network) -> Run {
        let counts = Arc::new(Counts::default());
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let share = self.streams / THREADS + usize::from(number < self.streams % THREADS);
            let open = || (0..share).map(|stream| connect(vip(stream % 2, ECHO_TCP))).collect::<Vec<_>>();
            let streams = network.topology.client.run(open).expect("the client's namespace");
            let counted = Arc::clone(&counts);
            threads.push(thread::spawn(move || ask(streams, &counted)));
        }
        for number in 0..THREADS {
            // Sockets are made where the thread is, and a flow has its own: as many as can be needed.
            let flows = usize::try_from(self.datagrams).unwrap_or(usize::MAX) / DATAGRAMS_PER_FLOW / THREADS;
            let flows = flows.clamp(1, FLOWS_MAX);
            let open = || (0..flows).map(|_| socket(vip(number % 2, BOTH))).collect::<Vec<_>>();
            let sockets = network.topology.client.run(open).expect("the client's namespace");
            let counted = Arc::clone(&counts);
            threads.push(thread::spawn(move || send(&sockets, &counted)));
        }
        Run { datagrams: self.datagrams, counts, threads }
    }
}

impl Run {
    /// Waits until enough datagrams were sent, and tells what was lost.
    ///
    /// # Panics
    /// When a thread did.
    pub fn finish(self) -> Outcome {
        while self.counts.datagrams.load(Ordering::Relaxed) < self.datagrams {
            if self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
            thread::sleep(PAUSE);
        }
        self.counts.enough.store(true, Ordering::Relaxed);
        let lost = self.threads.into_iter().flat_map(|thread| thread.join().expect("a thread"));
        Outcome {
            lost: lost.collect(),
            lines: self.counts.lines.load(Ordering::Relaxed),
            datagrams: self.counts.datagrams.load(Ordering::Relaxed),
        }
    }
}

fn connect(to: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, LOST_AFTER).unwrap_or_else(|error| panic!("{to}: {error}"));
    stream.set_read_timeout(Some(LOST_AFTER)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    let mut reader = BufReader::new(stream);
    // The greeting.
    reader.read_line(&mut String::new()).unwrap_or_else(|error| panic!("{to}: {error}"));
    reader
}

fn socket(to: SocketAddr) -> UdpSocket {
    let from: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(from).expect("a socket");
    socket.connect(to).expect("a route");
    socket.set_read_timeout(Some(LOST_AFTER)).expect("a timeout");
    socket
}

/// A line over each connection in turn.
fn ask(mut streams: Vec<BufReader<TcpStream>>, counts: &Counts) -> Vec<String> {
    let mut lost = Vec::new();
    while !counts.enough.load(Ordering::Relaxed) && !streams.is_empty() {
        streams.retain_mut(|stream| {
            let mut answer = String::new();
            let result = stream.get_mut().write_all(b"?\n").and_then(|()| stream.read_line(&mut answer));
            counts.lines.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
            match result {
                Ok(length) if length > 0 => return true,
                Ok(_) => lost.push("a connection ended".to_owned()),
                Err(error) => lost.push(format!("a connection: {error}")),
            }
            false
        });
    }
    lost
}

/// A datagram after the other, each with an answer.
fn send(sockets: &[UdpSocket], counts: &Counts) -> Vec<String> {
    let mut lost = Vec::new();
    for socket in sockets.iter().cycle() {
        for _ in 0..DATAGRAMS_PER_FLOW {
            if counts.enough.load(Ordering::Relaxed) {
                return lost;
            }
            let result = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 512]));
            counts.datagrams.fetch_add(1, Ordering::Relaxed);
            lost.extend(result.err().map(|error| format!("a datagram: {error}")));
            thread::sleep(PAUSE);
        }
    }
    lost
}
