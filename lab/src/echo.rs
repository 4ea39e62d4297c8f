//! Echo servers over TCP and UDP that say who answered and whom they saw.

mod process;

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

pub use process::EchoProcess;

use crate::{Error, Namespace, Server, server};

/// Larger than any UDP datagram.
const DATAGRAM_MAX: usize = 65_536;
/// What a worker says once it answers.
const READY: &str = "ready";

/// What a server listens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Greets at once with an [`Answer`] on a line, and answers every further line with another, padded
    /// with blanks to the question's length.
    Tcp,
    /// Answers every datagram with an [`Answer`], padded with blanks to the question's length.
    Udp,
}

/// One socket of an echo server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listener {
    /// The name it answers with.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// A single address, not the wildcard: answers have to leave from the address that was asked.
    pub address: SocketAddr,
}

/// What a server answers, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The listener's name.
    pub name: String,
    /// The peer's address as the server sees it.
    pub peer: SocketAddr,
    /// The server's own port.
    pub port: u16,
}

/// What all servers of one thread listen with.
#[derive(Debug, Default)]
struct Sockets {
    tcp: Vec<(String, std::net::TcpListener)>,
    udp: Vec<(String, std::net::UdpSocket)>,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Serves all `listeners` in `namespace` until the returned handle is dropped.
///
/// # Errors
/// When an address cannot be bound; then none is served.
pub fn serve(namespace: &Namespace, listeners: &[Listener]) -> Result<Server, Error> {
    let sockets = namespace.run(|| Sockets::open(listeners))??;
    Server::start(&format!("echo-{}", namespace.name()), async move || sockets.answer().await)
}

/// The worker's side: serves until the process is killed, and says on standard output that it does.
pub(crate) fn run(listeners: &[Listener]) -> Result<(), Error> {
    let sockets = Sockets::open(listeners)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::system("start a runtime for the echo servers"))?;
    writeln!(io::stdout(), "{READY}").map_err(Error::system("report that the echo servers are ready"))?;
    runtime.block_on(sockets.answer());
    Ok(())
}

impl Sockets {
    /// In the thread's namespace.
    fn open(listeners: &[Listener]) -> Result<Self, Error> {
        let mut sockets = Self::default();
        for Listener { name, protocol, address } in listeners {
            let action = || format!("serve {name} on {address}/{protocol}");
            match protocol {
                Protocol::Tcp => {
                    let socket = server::listen_here(*address).map_err(Error::system(action()))?;
                    sockets.tcp.push((name.clone(), socket));
                }
                Protocol::Udp => {
                    let socket = server::bind_udp_here(*address).map_err(Error::system(action()))?;
                    sockets.udp.push((name.clone(), socket));
                }
            }
        }
        Ok(sockets)
    }

    async fn answer(self) {
        let mut tasks = JoinSet::new();
        for (name, listener) in self.tcp {
            tasks.spawn(accept(name, listener));
        }
        for (name, socket) in self.udp {
            tasks.spawn(answer_datagrams(name, socket));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn accept(name: String, listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    // An error of accept belongs to one connection, which is gone.
    loop {
        if let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(answer_lines(name.clone(), stream, peer));
        }
    }
}

/// Ends with the connection; what broke it is for the client to see.
async fn answer_lines(name: String, stream: TcpStream, peer: SocketAddr) {
    let Ok(own) = stream.local_addr() else { return };
    let answer = answer(&name, peer, own.port());
    let (reader, mut writer) = stream.into_split();
    let mut questions = BufReader::new(reader).lines();
    let mut length = 0;
    loop {
        let mut line = answer.clone();
        line.resize(line.len().max(length), b' ');
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() {
            return;
        }
        let Ok(Some(question)) = questions.next_line().await else { return };
        length = question.len();
    }
}

async fn answer_datagrams(name: String, socket: std::net::UdpSocket) {
    let Ok(socket) = UdpSocket::from_std(socket) else { return };
    let Ok(own) = socket.local_addr() else { return };
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // An error is an ICMP message about an earlier answer; its receiver is gone.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let mut answer = answer(&name, peer, own.port());
            answer.resize(answer.len().max(length), b' ');
            socket.send_to(&answer, peer).await.ok();
        }
    }
}

fn answer(name: &str, peer: SocketAddr, port: u16) -> Vec<u8> {
    let answer = Answer { name: name.to_owned(), peer, port };
    serde_json::to_vec(&answer).unwrap_or_default()
}
