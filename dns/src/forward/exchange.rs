//! One query to one upstream, and its answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::wire::relay::{Mismatch, Relayed};
use crate::wire::writer::Transport;
use crate::wire::{HEADER, UDP_PAYLOAD, kind};

/// Messages that are no answer to ours are passed over; so many make the exchange fail.
const STRAYS_MAX: usize = 32;

/// Asks once. Each query has its own source port and identifier, which a forger has to guess.
pub(super) async fn ask(upstream: SocketAddr, message: &[u8], transport: Transport) -> io::Result<Relayed> {
    let mut query = message.to_vec();
    let [_, _, high, low] = random().to_be_bytes();
    query[..2].copy_from_slice(&[high, low]);
    match transport {
        Transport::Udp => over_udp(upstream, &query).await,
        Transport::Tcp => over_tcp(upstream, &query).await,
    }
}

/// A probe: any answer to it tells that the upstream is alive.
pub(super) fn probe() -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[2..6].copy_from_slice(&[0x01, 0, 0, 1]);
    message.extend_from_slice(&[0, 0, u8::try_from(kind::NS).unwrap_or_default(), 0, 1]);
    message
}

/// A number that nobody can guess.
pub(super) fn random() -> u32 {
    // The source can only be missing on kernels that are too old for everything else here.
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

async fn over_udp(upstream: SocketAddr, query: &[u8]) -> io::Result<Relayed> {
    let any: IpAddr =
        if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(UDP_PAYLOAD).max(4096)];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut buffer).await?;
        match Relayed::read(&buffer[..length], query) {
            Err(Mismatch::Stray) => {}
            other => return other.map_err(io::Error::other),
        }
    }
    Err(io::Error::other(Mismatch::Stray))
}

async fn over_tcp(upstream: SocketAddr, query: &[u8]) -> io::Result<Relayed> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), query].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Relayed::read(&answer, query).map_err(io::Error::other)
}
