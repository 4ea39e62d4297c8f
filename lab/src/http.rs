//! An HTTP/1.1 server that says who answered.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use crate::{Error, Namespace, Server, server};

/// The body of every answer, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's name.
    pub name: String,
    /// The server's own address on this connection.
    pub address: SocketAddr,
    /// The peer's address as the server sees it.
    pub peer: SocketAddr,
}

/// Serves on `address` in `namespace` until the returned handle is dropped.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(namespace: &Namespace, name: &str, address: SocketAddr) -> Result<Server, Error> {
    let listener = server::listen(namespace, address)?;
    let name = name.to_owned();
    Server::start(&format!("http-{name}"), async move || {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        // An error of accept belongs to one connection, which is gone.
        loop {
            if let Ok((stream, peer)) = listener.accept().await {
                tokio::spawn(answer(stream, name.clone(), peer));
            }
        }
    })
}

async fn answer(stream: TcpStream, name: String, peer: SocketAddr) {
    let Ok(address) = stream.local_addr() else { return };
    let answer = Answer { name, address, peer };
    let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
    let service = service_fn(|_| {
        let body = Full::new(body.clone());
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    // A client that breaks off is the client's affair: it counts its failures itself.
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await.ok();
}
