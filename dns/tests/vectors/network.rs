//! The server on the loopback interface, with an upstream beside it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::server::{Listener, Server as DnsServer, ServerOptions, Service};
use seaway_dns::wire::kind;
use seaway_dns::wire::query::{Query, Unfit};
use tokio::runtime::Runtime;

use super::memory::{canned, localize};
use super::suite::{Suite, Upstream};
use super::wire;
use crate::Server;

const PORT: u16 = 53;
/// Far more than any answer takes, on however loaded a machine.
const DEADLINE: Duration = Duration::from_secs(20);
const SENTINEL: [u8; 2] = [0xff, 0xfe];

pub(crate) struct Network {
    /// Whether names are asked for over TCP.
    tcp: bool,
    address: SocketAddr,
    socket: UdpSocket,
    stream: Option<TcpStream>,
    _server: DnsServer,
    _runtime: Runtime,
}

impl Network {
    /// A server set up as a suite says.
    pub(crate) fn new(suite: &Suite, tcp: bool) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let upstream = suite.config.upstream.clone().map(serve_canned);
        let text = suite.config.corefile(PORT, upstream, dir.path());
        let mut blocks = corefile::parse(&text, dir.path()).map_err(|error| error.to_string())?;
        localize(&mut blocks, &suite.config);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let service = Service::new(Engine::new(blocks));
        if suite.config.synced != Some(false) {
            let mut feed = Feed::new(&service.engine());
            for state in suite.states() {
                feed.update(&service.engine(), &Arc::new(Snapshot::from_manifests(&state).0), 1);
            }
        }
        let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), place: PORT.into() };
        let entered = runtime.enter();
        let server = DnsServer::start(&service, &[listener], ServerOptions { threads: 2 }).unwrap();
        drop(entered);
        let address = server.addresses()[0];
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Ok(Self { tcp, address, socket, stream: None, _server: server, _runtime: runtime })
    }

    /// Asks over UDP. Behind the query goes another that is always answered, and by the same thread:
    /// once its answer is there, a query that is not to be answered has not been.
    fn over_udp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut sentinel = wire::query("cluster.local.", "SOA");
        sentinel[..2].copy_from_slice(&SENTINEL);
        self.socket.send(query).unwrap();
        self.socket.send(&sentinel).unwrap();
        let silent = matches!(Query::read(query), Err(Unfit::Silence));
        let (mut answer, mut passed) = (None, false);
        let mut buffer = vec![0; 65_535];
        while !passed || (answer.is_none() && !silent) {
            let length = self.socket.recv(&mut buffer).expect("an answer");
            if buffer[..2] == SENTINEL {
                passed = true;
            } else {
                answer = Some(buffer[..length].to_vec());
            }
        }
        answer
    }

    fn over_tcp(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream
        });
        let exchanged = exchange(stream, query);
        if exchanged.is_none() {
            self.stream = None;
        }
        exchanged
    }
}

fn exchange(stream: &mut TcpStream, query: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(query.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), query].concat()).ok()?;
    read_framed(stream)
}

fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

impl Server for Network {
    fn ask(&mut self, query: &[u8], tcp: Option<bool>, _client: Option<IpAddr>) -> Vec<Vec<u8>> {
        let transfer = Query::read(query).is_ok_and(|query| matches!(query.kind, kind::AXFR | kind::IXFR));
        if !tcp.unwrap_or(self.tcp || transfer) {
            return self.over_udp(query).into_iter().collect();
        }
        let mut answers: Vec<Vec<u8>> = self.over_tcp(query).into_iter().collect();
        while transfer && !is_complete(&answers) {
            let Some(next) = self.stream.as_mut().and_then(read_framed) else { break };
            answers.push(next);
        }
        answers
    }
}

/// Whether the messages of a transfer end with the SOA that they began with, or are no transfer.
fn is_complete(answers: &[Vec<u8>]) -> bool {
    let messages = answers.iter().map(|answer| Message::from_vec(answer).unwrap());
    let records: Vec<_> = messages.flat_map(|message| message.answers).collect();
    records.len() < 2
        || records.last().map(|record| &record.data) == records.first().map(|record| &record.data)
}

/// An upstream over UDP and TCP, which ends with the test.
fn serve_canned(upstream: Upstream) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    let upstream = Arc::new(upstream);
    let over_udp = Arc::clone(&upstream);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if socket.send_to(&answer(&over_udp, &buffer[..length]), peer).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while let Some(query) = read_framed(&mut stream) {
                let answer = answer(&upstream, &query);
                let length = u16::try_from(answer.len()).unwrap();
                if stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).is_err() {
                    break;
                }
            }
        }
    });
    address
}

fn answer(upstream: &Upstream, query: &[u8]) -> Vec<u8> {
    let answer = canned(upstream, query).unwrap_or_else(|| {
        let query = Message::from_vec(query).unwrap();
        let mut failure = Message::response(query.metadata.id, OpCode::Query);
        failure.metadata.response_code = ResponseCode::ServFail;
        failure.queries = query.queries;
        failure
    });
    answer.to_vec().unwrap()
}
