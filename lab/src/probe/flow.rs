//! A socket to an echo server, for one question or for many.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Outcome, Probe, Transport};

const DATAGRAM_MAX: usize = 65_536;
/// `IPPROTO_MPTCP`.
const MPTCP: i32 = 262;
/// More answers and errors than a socket's buffer keeps.
const LATE_MAX: usize = 1000;

/// An open socket.
#[derive(Debug)]
pub(super) enum Flow {
    Tcp(BufReader<TcpStream>),
    Udp(UdpSocket, Transport),
}

impl Flow {
    /// A socket as the probe asks for, connected if it is to be.
    pub(super) fn open(probe: &Probe) -> io::Result<Self> {
        let (kind, protocol) = match probe.transport {
            Transport::Tcp => (Type::STREAM, None),
            Transport::Mptcp => (Type::STREAM, Some(Protocol::from(MPTCP))),
            _ => (Type::DGRAM, None),
        };
        let socket = Socket::new(Domain::for_address(probe.to), kind, protocol)?;
        bind(&socket, probe)?;
        match probe.transport {
            Transport::UdpUnconnected => {
                // Without it errors reach connected sockets alone.
                match probe.to {
                    SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
                    SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
                }
                Ok(Self::Udp(socket.into(), probe.transport))
            }
            Transport::Udp => {
                socket.connect(&SockAddr::from(probe.to))?;
                Ok(Self::Udp(socket.into(), probe.transport))
            }
            _ => Ok(Self::Tcp(BufReader::new(connect(socket, probe)?))),
        }
    }

    /// Asks. A new TCP connection is greeted without a question.
    pub(super) fn ask(&mut self, probe: &Probe, is_new: bool) -> io::Result<Outcome> {
        let timeout = Some(Duration::from_millis(probe.timeout_ms));
        let (text, remote) = match self {
            Self::Tcp(stream) => {
                stream.get_ref().set_read_timeout(timeout)?;
                if !is_new {
                    stream.get_mut().write_all(b"again\n")?;
                }
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                (line, stream.get_ref().peer_addr()?)
            }
            Self::Udp(socket, transport) => {
                let mut buffer = vec![0; DATAGRAM_MAX];
                forget_late_answers(socket, &mut buffer)?;
                socket.set_read_timeout(timeout)?;
                let question = vec![b'?'; probe.size];
                let (length, remote) = if *transport == Transport::Udp {
                    socket.send(&question)?;
                    (socket.recv(&mut buffer)?, socket.peer_addr()?)
                } else {
                    socket.send_to(&question, probe.to)?;
                    socket.recv_from(&mut buffer)?
                };
                buffer.truncate(length);
                (buffer, remote)
            }
        };
        Ok(Outcome::Answered { answer: serde_json::from_slice(&text)?, remote })
    }
}

/// Binds a socket to the address and port that the probe asks for.
pub(super) fn bind(socket: &Socket, probe: &Probe) -> io::Result<()> {
    let Some(from) = probe.from else { return Ok(()) };
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(from))
}

/// Connects a bound TCP socket.
pub(super) fn connect(socket: Socket, probe: &Probe) -> io::Result<TcpStream> {
    if probe.from.is_some_and(|from| from.port() != 0) {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    socket.connect_timeout(&SockAddr::from(probe.to), Duration::from_millis(probe.timeout_ms))?;
    Ok(socket.into())
}

/// What belongs to earlier questions is not the answer to the next.
fn forget_late_answers(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    for _ in 0..LATE_MAX {
        if socket.recv(buffer).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            break;
        }
    }
    socket.set_nonblocking(false)
}
