//! Accepting connections, and letting them finish.

use super::tls::{self, Peer};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

/// Pause after `accept` failed: descriptors or memory have run out, and come back when a connection ends.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Time for a client to finish the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a client to send the head of its next request, from the end of the last one on.
const HEADERS: Duration = Duration::from_secs(60);
/// Time after the drain for clients to be told why they are refused.
const FAREWELL: Duration = Duration::from_secs(1);

/// An address where connections come in.
pub(super) struct Front {
    pub listener: TcpListener,
    pub tls: Option<TlsAcceptor>,
    pub stop: watch::Receiver<bool>,
    /// How long requests in flight may take once it stops.
    pub drain: Duration,
}

impl Front {
    /// Serves connections until told to stop, then lets requests in flight finish. `refuse` is called
    /// when their time is over.
    pub(super) async fn serve<S, B>(mut self, service: S, refuse: impl FnOnce())
    where
        S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body_util::BodyExt + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let graceful = GracefulShutdown::new();
        while let Some(stream) = self.accept().await {
            // A segment that waits for the last one's acknowledgement waits 40 ms.
            if let Err(e) = stream.set_nodelay(true) {
                debug!("cannot set TCP_NODELAY: {e}");
            }
            let (service, tls, watcher) = (service.clone(), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                let Some(tls) = tls else { return converse(stream, None, service, watcher).await };
                match timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let peer = tls::peer(&stream).unwrap_or_default();
                        converse(stream, Some(peer), service, watcher).await;
                    }
                    Ok(Err(e)) => debug!("TLS handshake failed: {e}"),
                    Err(_) => debug!("TLS handshake timed out"),
                }
            });
        }
        // Others are refused by the kernel from now on, instead of being left in its queue.
        drop(self.listener);
        let mut drained = std::pin::pin!(graceful.shutdown());
        if timeout(self.drain, drained.as_mut()).await.is_err() {
            warn!("requests still in flight after {} s: giving up on them", self.drain.as_secs());
            refuse();
            if timeout(FAREWELL, drained).await.is_err() {
                debug!("connections are closed with requests in flight");
            }
        }
    }

    /// The next connection; `None` once it is time to stop.
    async fn accept(&mut self) -> Option<TcpStream> {
        let mut warned = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => return Some(stream),
                Err(e) => {
                    if !warned {
                        warn!("cannot accept connections: {e}; retrying");
                        warned = true;
                    }
                    sleep(BACK_OFF).await;
                }
            }
        }
    }
}

/// Serves one connection; its requests carry what the client's certificate says.
async fn converse<T, S, B>(stream: T, peer: Option<Peer>, service: S, watcher: Watcher)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body_util::BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        service.call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(e) = watcher.watch(connection).await {
        debug!("connection ended: {e}");
    }
}
