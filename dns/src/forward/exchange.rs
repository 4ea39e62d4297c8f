//! One query to one upstream, and its answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::connection::Connection;
use super::options::ForwardOptions;
use super::upstream::Upstream;
use crate::metrics::Way;
use crate::wire::query::skip_name;
use crate::wire::relay::{Mismatch, Relayed};
use crate::wire::writer::Transport;
use crate::wire::{HEADER, UDP_PAYLOAD, kind};

/// Messages that are no answer to ours are passed over; so many make the exchange fail.
const STRAYS_MAX: usize = 32;

/// Asks once. Each query has its own identifier, and over UDP its own source port, which a forger has
/// to guess. Upstreams over TLS are asked over that, however the query came.
pub(super) async fn ask(
    upstream: &Upstream,
    message: &[u8],
    transport: Transport,
    options: &ForwardOptions,
) -> io::Result<Relayed> {
    let mut query = message.to_vec();
    let [_, _, high, low] = random().to_be_bytes();
    query[..2].copy_from_slice(&[high, low]);
    match transport {
        Transport::Udp if upstream.target.name.is_none() => {
            upstream.tally.opened(Way::Udp);
            over_udp(upstream.target.address, &query).await
        }
        Transport::Udp | Transport::Tcp => over_connection(upstream, &query, options).await,
    }
}

/// A probe: any answer to it tells that the upstream is alive.
pub(super) fn probe(options: &ForwardOptions) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message[2..6].copy_from_slice(&[u8::from(options.probe.recursion), 0, 0, 1]);
    message.extend_from_slice(options.probe.domain.wire());
    message.extend_from_slice(&kind::NS.to_be_bytes());
    message.extend_from_slice(&kind::IN.to_be_bytes());
    message
}

/// A number that nobody can guess.
pub(super) fn random() -> u32 {
    // The source can only be missing on kernels that are too old for everything else here.
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

/// Where to bind to ask an upstream: any address and port of its family.
pub(super) fn any_port(upstream: SocketAddr) -> SocketAddr {
    let any: IpAddr =
        if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    (any, 0).into()
}

async fn over_udp(upstream: SocketAddr, query: &[u8]) -> io::Result<Relayed> {
    let socket = UdpSocket::bind(any_port(upstream)).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(UDP_PAYLOAD).max(4096)];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut buffer).await?;
        match Relayed::read(&buffer[..length], query) {
            Err(Mismatch::Stray) => {}
            // It may be longer than is read here, or than its sender can count: the client is to ask over TCP.
            Err(Mismatch::Malformed) => return cut(&buffer[..length], query).map_err(io::Error::other),
            other => return other.map_err(io::Error::other),
        }
    }
    Err(io::Error::other(Mismatch::Stray))
}

/// What an answer says without its records: that something is missing.
fn cut(message: &[u8], query: &[u8]) -> Result<Relayed, Mismatch> {
    let end = skip_name(query, HEADER).map_err(|_| Mismatch::Malformed)? + 4;
    let mut cut = message.get(..end).ok_or(Mismatch::Malformed)?.to_vec();
    cut[2] |= 0x02;
    cut[6..HEADER].fill(0);
    Relayed::read(&cut, query)
}

/// A connection that was closed while it waited says nothing about the upstream: the next is tried.
async fn over_connection(upstream: &Upstream, query: &[u8], options: &ForwardOptions) -> io::Result<Relayed> {
    let way = if upstream.target.name.is_some() { Way::Encrypted } else { Way::Tcp };
    while let Some(mut connection) = upstream.idle.take(options.expire) {
        if let Ok(answer) = connection.ask(query).await {
            upstream.tally.reused(way);
            upstream.idle.put(connection, options.idle_max);
            return Ok(answer);
        }
    }
    upstream.tally.opened(way);
    let mut connection = Connection::open(&upstream.target, options.tls.as_ref()).await?;
    let answer = connection.ask(query).await?;
    upstream.idle.put(connection, options.idle_max);
    Ok(answer)
}
