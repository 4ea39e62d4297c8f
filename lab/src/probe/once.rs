//! Questions that keep no socket: an ICMP echo request, an HTTP request.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Outcome, Probe, flow};
use crate::echo::Answer;

/// Type, code, checksum, identifier, sequence number (RFC 792, RFC 4443). The kernel fills in what
/// is zero here.
const HEADER_BYTES: usize = 8;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// Sends one echo request and waits for its reply.
pub(super) fn ping(probe: &Probe) -> io::Result<Outcome> {
    let (protocol, kind) = match probe.to {
        SocketAddr::V4(_) => (Protocol::ICMPV4, ECHO_REQUEST),
        SocketAddr::V6(_) => (Protocol::ICMPV6, ECHO_REQUEST_V6),
    };
    let mut socket = Socket::new(Domain::for_address(probe.to), Type::DGRAM, Some(protocol))?;
    flow::bind(&socket, probe)?;
    socket.connect(&SockAddr::from(probe.to))?;
    socket.set_read_timeout(Some(Duration::from_millis(probe.timeout_ms)))?;
    let mut message = vec![0; HEADER_BYTES + probe.size];
    message[0] = kind;
    socket.write_all(&message)?;
    let length = socket.read(&mut message)?;
    if length != message.len() {
        return Ok(Outcome::Failed(format!("a reply of {length} bytes to {}", message.len())));
    }
    answered("echo-reply".into(), own_address(&socket)?, probe.to)
}

/// Sends one GET and reads the whole answer.
pub(super) fn get(probe: &Probe) -> io::Result<Outcome> {
    let socket = Socket::new(Domain::for_address(probe.to), Type::STREAM, None)?;
    flow::bind(&socket, probe)?;
    let mut stream: TcpStream = flow::connect(socket, probe)?;
    let (own, remote) = (stream.local_addr()?, stream.peer_addr()?);
    stream.set_read_timeout(Some(Duration::from_millis(probe.timeout_ms)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", probe.to)?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    io::copy(&mut answer, &mut io::sink())?;
    match line.split_whitespace().nth(1) {
        Some(status) if line.starts_with("HTTP/1.") => answered(format!("http-{status}"), own, remote),
        _ => Ok(Outcome::Failed(format!("no HTTP answer: {line:?}"))),
    }
}

fn answered(name: String, peer: SocketAddr, remote: SocketAddr) -> io::Result<Outcome> {
    let answer = Answer { name, peer, port: remote.port() };
    Ok(Outcome::Answered { answer, remote })
}

fn own_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("a socket without an internet address"))
}
