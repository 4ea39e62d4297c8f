//! DNS over TCP: messages with their length in front (RFC 7766).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::service::{Arrival, Service};
use crate::wire::writer::Transport;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
const FIRST_READ: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(5);

/// Accepts connections until the server ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    service: Arc<Service>,
    port: u16,
    mut ended: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot accept connections"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (service, mut ended) = (Arc::clone(&service), ended.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        done = converse(stream, peer, service, port) => if let Err(error) = done {
                            tracing::debug!(%peer, %error, "a connection ended");
                        },
                        _ = ended.changed() => {}
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: accepting again at once would only spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Answers the queries of a connection, one after the other.
async fn converse(
    mut stream: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    port: u16,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut patience = FIRST_READ;
    loop {
        let length = match timeout(patience, stream.read_u16()).await {
            Ok(Ok(length)) => length,
            // The client has gone, or has nothing more to ask.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        };
        patience = IDLE;
        let mut query = vec![0; usize::from(length)];
        timeout(FIRST_READ, stream.read_exact(&mut query)).await??;
        let arrival = Arrival { transport: Transport::Tcp, port, peer };
        let transfer = service.engine().transfer(&query, port, peer);
        let answers = match transfer {
            Some(messages) => messages,
            None => match Arc::clone(&service).resolve(query, arrival).await {
                Some(answer) => vec![answer],
                None => return Ok(()),
            },
        };
        for answer in answers {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
            timeout(WRITE, stream.write_all(&framed)).await??;
        }
    }
}
