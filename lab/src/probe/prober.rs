//! Asks echo servers from the calling thread.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, BufRead, BufReader, Write},
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Outcome, Probe, Transport};

const DATAGRAM_MAX: usize = 65_536;

/// Asks in the calling thread, so in its namespace and cgroup, and keeps the named flows.
#[derive(Debug, Default)]
pub struct Prober {
    flows: BTreeMap<String, Flow>,
}

#[derive(Debug)]
enum Flow {
    Tcp(BufReader<TcpStream>),
    Udp(UdpSocket, Transport),
}

impl Prober {
    /// Asks once.
    pub fn ask(&mut self, probe: &Probe) -> Outcome {
        self.try_ask(probe).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::Timeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::Unreachable,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Outcome::Reset
            }
            _ => Outcome::Failed(error.to_string()),
        })
    }

    fn try_ask(&mut self, probe: &Probe) -> io::Result<Outcome> {
        let Some(name) = &probe.flow else { return Flow::open(probe)?.ask(probe, true) };
        match self.flows.entry(name.clone()) {
            Entry::Occupied(mut open) => open.get_mut().ask(probe, false),
            Entry::Vacant(free) => free.insert(Flow::open(probe)?).ask(probe, true),
        }
    }
}

impl Flow {
    fn open(probe: &Probe) -> io::Result<Self> {
        let timeout = Duration::from_millis(probe.timeout_ms);
        let kind = if probe.transport == Transport::Tcp { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(Domain::for_address(probe.to), kind, None)?;
        if let Some(from) = probe.from {
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(from))?;
        }
        match probe.transport {
            Transport::Tcp => {
                socket.connect_timeout(&SockAddr::from(probe.to), timeout)?;
                Ok(Self::Tcp(BufReader::new(socket.into())))
            }
            Transport::Udp => {
                socket.connect(&SockAddr::from(probe.to))?;
                Ok(Self::Udp(socket.into(), probe.transport))
            }
            Transport::UdpUnconnected => Ok(Self::Udp(socket.into(), probe.transport)),
        }
    }

    fn ask(&mut self, probe: &Probe, is_new: bool) -> io::Result<Outcome> {
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
                socket.set_read_timeout(timeout)?;
                let question = vec![b'?'; probe.size];
                let mut buffer = vec![0; DATAGRAM_MAX];
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
