//! Connections over TCP: plain ones, and those over TLS and HTTPS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::service::{Arrival, Service};
use super::{https, stream};
use crate::block::{Place, Scheme};
use crate::wire::writer::Transport;

/// Connections at once; more wait to be accepted.
pub(super) const CONNECTIONS_MAX: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Accepts connections until the server ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    service: Arc<Service>,
    place: Place,
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
                        done = converse(stream, peer, service, place) => if let Err(error) = done {
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

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    place: Place,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = Some(stream.local_addr()?.ip());
    let arrival = Arrival { transport: Transport::Tcp, place, peer, local };
    if place.scheme == Scheme::Dns {
        return stream::converse(stream, service, arrival).await;
    }
    // Looked up for each connection: a reload may have brought another certificate.
    let config = service.engine().tls(place).ok_or_else(|| io::Error::other("there is no certificate"))?;
    let stream = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await??;
    match place.scheme {
        Scheme::Https => https::converse(stream, service, arrival).await,
        _ => stream::converse(stream, service, arrival).await,
    }
}
