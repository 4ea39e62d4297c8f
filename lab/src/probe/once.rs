//! Questions that keep no socket: an ICMP echo request, an HTTP request, a whole TCP exchange.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Outcome, Probe, flow};
use crate::echo::Answer;

/// Type, code, checksum, identifier, sequence number (RFC 792, RFC 4443). The kernel fills in what
/// is zero here.
const HEADER_BYTES: usize = 8;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
/// `MSG_FASTOPEN`.
const FAST_OPEN: i32 = 0x2000_0000;
/// Datagrams of one call.
const SEGMENTS: usize = 4;
/// Lines of an exchange.
const LINES: usize = 4;

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

/// Connects a UDP socket and sends nothing.
pub(super) fn connect_udp(probe: &Probe) -> io::Result<Outcome> {
    let socket = Socket::new(Domain::for_address(probe.to), Type::DGRAM, None)?;
    flow::bind(&socket, probe)?;
    socket.connect(&SockAddr::from(probe.to))?;
    // The kernel calls a socket that is connected to port 0 unconnected.
    let remote = socket.peer_addr().ok().and_then(|peer| peer.as_socket()).unwrap_or(probe.to);
    answered("connected".into(), own_address(&socket)?, remote)
}

/// Sends datagrams as one long one that the kernel cuts, and waits for as many answers.
pub(super) fn send_segments(probe: &Probe) -> io::Result<Outcome> {
    let socket = Socket::new(Domain::for_address(probe.to), Type::DGRAM, None)?;
    flow::bind(&socket, probe)?;
    socket.connect(&SockAddr::from(probe.to))?;
    socket.set_read_timeout(Some(Duration::from_millis(probe.timeout_ms)))?;
    let segment = i32::try_from(probe.size).map_err(io::Error::other)?;
    setsockopt(&socket, sockopt::UdpGsoSegment, &segment)?;
    socket.send(&vec![b'?'; SEGMENTS * probe.size])?;
    let mut answer = vec![0; SEGMENTS * probe.size];
    for _ in 0..SEGMENTS {
        let length = (&socket).read(&mut answer)?;
        if length != probe.size {
            return Ok(Outcome::Failed(format!("an answer of {length} bytes to {}", probe.size)));
        }
    }
    let answer = serde_json::from_slice(&answer[..probe.size])?;
    Ok(Outcome::Answered { answer, remote: probe.to })
}

/// Opens a connection with a line in its SYN and reads the greeting.
pub(super) fn open_fast(probe: &Probe) -> io::Result<Outcome> {
    let socket = Socket::new(Domain::for_address(probe.to), Type::STREAM, None)?;
    flow::bind(&socket, probe)?;
    let timeout = Some(Duration::from_millis(probe.timeout_ms));
    socket.set_read_timeout(timeout)?;
    socket.set_write_timeout(timeout)?;
    socket.send_to_with_flags(b"fast\n", &SockAddr::from(probe.to), FAST_OPEN)?;
    let stream = TcpStream::from(socket);
    let remote = stream.peer_addr()?;
    let greeting = read_line(&mut BufReader::new(stream))?;
    Ok(Outcome::Answered { answer: serde_json::from_slice(&greeting)?, remote })
}

/// Opens a connection, sends and receives on it, and closes it from this side.
pub(super) fn exchange(probe: &Probe) -> io::Result<Outcome> {
    let socket = Socket::new(Domain::for_address(probe.to), Type::STREAM, None)?;
    flow::bind(&socket, probe)?;
    let stream = flow::connect(socket, probe)?;
    stream.set_read_timeout(Some(Duration::from_millis(probe.timeout_ms)))?;
    let remote = stream.peer_addr()?;
    let mut stream = BufReader::new(stream);
    let greeting = read_line(&mut stream)?;
    let mut question = vec![b'?'; probe.size / LINES];
    question.push(b'\n');
    for number in 1..=LINES {
        stream.get_mut().write_all(&question)?;
        let answer = read_line(&mut stream)?;
        if answer.len() < question.len() {
            let (asked, got) = (question.len(), answer.len());
            return Ok(Outcome::Failed(format!("line {number} has {got} bytes, not {asked}")));
        }
    }
    stream.get_ref().shutdown(Shutdown::Write)?;
    if stream.read(&mut question)? != 0 {
        return Ok(Outcome::Failed("more than was asked for".into()));
    }
    Ok(Outcome::Answered { answer: serde_json::from_slice(&greeting)?, remote })
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
