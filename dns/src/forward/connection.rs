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

use super::options::Target;
use crate::wire::relay::Relayed;

/// A connection, encrypted or not, that carries one query at a time.
pub(super) struct Connection(Box<dyn Stream>);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections that wait, the one that has waited longest first.
#[derive(Default)]
pub(super) struct Idle(Mutex<VecDeque<(Instant, Connection)>>);

impl Connection {
    /// Connects, and makes sure who answers there where `tls` is given.
    pub(super) async fn open(target: &Target, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        match (&target.name, tls) {
            (None, _) => Ok(Self(Box::new(stream))),
            (Some(name), Some(tls)) => {
                let connector = TlsConnector::from(Arc::clone(tls));
                Ok(Self(Box::new(connector.connect(name.clone(), stream).await?)))
            }
            (Some(_), None) => Err(io::Error::other("nothing tells whom to trust")),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, query: &[u8]) -> io::Result<Relayed> {
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), query].concat();
        self.0.write_all(&framed).await?;
        self.0.flush().await?;
        let length = self.0.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        self.0.read_exact(&mut answer).await?;
        Relayed::read(&answer, query).map_err(io::Error::other)
    }
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
