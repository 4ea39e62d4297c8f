//! Connections to an upstream, and those of them that wait for their next query.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::encrypted::{Https, Quic};
use super::options::Target;
use crate::block::Scheme;
use crate::wire::relay::Relayed;

/// A connection, encrypted or not, that carries one query at a time.
pub(super) enum Connection {
    /// Messages with their length in front.
    Stream(Box<dyn Stream>),
    /// Requests.
    Https(Https),
    /// A stream for each query.
    Quic(Quic),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections that wait, the one that has waited longest first.
#[derive(Default)]
pub(super) struct Idle(Mutex<VecDeque<(Instant, Connection)>>);

impl Connection {
    /// Connects, and makes sure who answers there where `tls` is given.
    pub(super) async fn open(target: &Target, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(name) = &target.name else {
            return Ok(Self::Stream(Box::new(stream(target).await?)));
        };
        let tls = tls.ok_or_else(|| io::Error::other("nothing tells whom to trust"))?;
        match target.scheme {
            Scheme::Https => Ok(Self::Https(Https::open(target, name, tls).await?)),
            Scheme::Quic => Ok(Self::Quic(Quic::open(target, name, tls).await?)),
            Scheme::Dns | Scheme::Tls => {
                let connector = TlsConnector::from(Arc::clone(tls));
                Ok(Self::Stream(Box::new(connector.connect(name.clone(), stream(target).await?).await?)))
            }
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, query: &[u8]) -> io::Result<Relayed> {
        let mut unnumbered = query.to_vec();
        unnumbered[..2].copy_from_slice(&[0, 0]);
        let (asked, answer) = match self {
            Self::Stream(stream) => (query, converse(stream, query).await?),
            Self::Https(https) => (&*unnumbered, https.ask(unnumbered.clone()).await?),
            Self::Quic(quic) => (&*unnumbered, quic.ask(&unnumbered).await?),
        };
        Relayed::read(&answer, asked).map_err(io::Error::other)
    }
}

async fn stream(target: &Target) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn converse(stream: &mut Box<dyn Stream>, query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    stream.flush().await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

impl Idle {
    /// One that has not waited for longer than `expire`.
    pub(super) fn take(&self, expire: Duration) -> Option<Connection> {
        let mut waiting = self.0.lock();
        loop {
            let (since, connection) = waiting.pop_front()?;
            if since.elapsed() < expire {
                return Some(connection);
            }
        }
    }

    /// Keeps one for the next query, unless `most` wait already.
    pub(super) fn put(&self, connection: Connection, most: usize) {
        let mut waiting = self.0.lock();
        if waiting.len() < most {
            waiting.push_back((Instant::now(), connection));
        }
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} waiting", self.0.lock().len())
    }
}
