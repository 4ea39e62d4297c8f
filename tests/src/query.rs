//! A DNS client of one query at a time, over a new socket each.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Long enough for a loaded machine and for a server that waits for others.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A message over UDP never needs more here.
const MESSAGE_MAX: usize = 4096;
const HEADER: usize = 12;
const ID: [u8; 2] = [0x51, 0xd5];
const A: u16 = 1;
const AAAA: u16 = 28;

/// How a question is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub rcode: u8,
    /// The addresses of the answer section, sorted.
    pub addresses: Vec<IpAddr>,
}

/// Asks for the addresses of `name`: AAAA for `v6`, else A.
///
/// # Errors
/// No answer in time, none at all, or one that is no answer to this.
pub fn ask(over: Over, server: SocketAddr, name: &str, v6: bool) -> io::Result<Answer> {
    let query = query(name, if v6 { AAAA } else { A });
    let answer = match over {
        Over::Udp => by_datagram(server, &query)?,
        Over::Tcp => by_connection(server, &query)?,
    };
    read(&answer, query.len()).ok_or_else(|| io::Error::other("that is no answer"))
}

/// A query for `name`, which is absolute with or without its last dot.
pub fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![ID[0], ID[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a label of at most 63 octets"));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&1_u16.to_be_bytes());
    message
}

fn by_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.connect(server)?;
    socket.send(query)?;
    let mut answer = vec![0; MESSAGE_MAX];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn by_connection(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Reads an answer whose header and question take as much as those of the query.
fn read(message: &[u8], asked: usize) -> Option<Answer> {
    let header = message.get(..HEADER)?;
    if header[..2] != ID || header[2] & 0x80 == 0 {
        return None;
    }
    let records = u16::from_be_bytes([header[6], header[7]]);
    let mut rest = message.get(asked..).unwrap_or_default();
    let mut addresses = Vec::new();
    for _ in 0..records {
        rest = after_name(rest)?;
        let (kind, length) = (be16(rest, 0)?, usize::from(be16(rest, 8)?));
        let data = rest.get(10..10 + length)?;
        match kind {
            A => addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            AAAA => addresses.push(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            _ => {}
        }
        rest = &rest[10 + length..];
    }
    addresses.sort_unstable();
    Some(Answer { rcode: header[3] & 0x0f, addresses })
}

fn after_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match *rest.first()? {
            0 => return rest.get(1..),
            pointer if pointer & 0xc0 == 0xc0 => return rest.get(2..),
            length => rest = rest.get(1 + usize::from(length)..)?,
        }
    }
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}
