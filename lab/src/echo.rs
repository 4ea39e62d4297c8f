//! Echo servers over TCP and UDP that say who answered and whom they saw.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use crate::{Error, Namespace, Server, server};

/// Larger than any UDP datagram.
const DATAGRAM_MAX: usize = 65_536;

/// What a server listens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Greets at once with an [`Answer`] on a line, and answers every further line with another.
    Tcp,
    /// Answers every datagram with an [`Answer`], padded with blanks to the question's length.
    Udp,
}

/// One socket of an echo server.
#[derive(Debug, Clone)]
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
    let mut tcp = Vec::new();
    let mut udp = Vec::new();
    for Listener { name, protocol, address } in listeners {
        match protocol {
            Protocol::Tcp => tcp.push((name.clone(), server::listen(namespace, *address)?)),
            Protocol::Udp => udp.push((name.clone(), server::bind_udp(namespace, *address)?)),
        }
    }
    Server::start(&format!("echo-{}", namespace.name()), async move || {
        let mut sockets = JoinSet::new();
        for (name, listener) in tcp {
            sockets.spawn(accept(name, listener));
        }
        for (name, socket) in udp {
            sockets.spawn(answer_datagrams(name, socket));
        }
        while sockets.join_next().await.is_some() {}
    })
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
    let mut line = answer(&name, peer, own.port());
    line.push(b'\n');
    let (reader, mut writer) = stream.into_split();
    let mut questions = BufReader::new(reader).lines();
    while writer.write_all(&line).await.is_ok() {
        if !matches!(questions.next_line().await, Ok(Some(_))) {
            return;
        }
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
