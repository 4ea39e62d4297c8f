//! Connections to upstreams over HTTPS (RFC 8484) and QUIC (RFC 9250).
//!
//! Both want the identifier 0 in a query, so that caches on the way can tell equal ones.

use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::exchange::any_port;
use super::options::Target;

const MESSAGE_TYPE: &str = "application/dns-message";
const MESSAGE_MAX: usize = 65_535;
/// `DOQ_NO_ERROR` (RFC 9250 section 8.4).
const NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0);

/// A connection over HTTP/2.
pub(super) struct Https {
    sender: SendRequest<Full<Bytes>>,
    uri: String,
}

/// A connection over QUIC.
pub(super) struct Quic {
    connection: quinn::Connection,
    /// The connection's socket.
    _endpoint: quinn::Endpoint,
}

impl Https {
    /// Connects, and makes sure who answers there.
    pub(super) async fn open(
        target: &Target,
        name: &ServerName<'static>,
        tls: &ClientConfig,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(speaking(tls, b"h2"))).connect(name.clone(), stream).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends with its sender.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an upstream over HTTPS ended");
            }
        });
        let uri = format!("https://{}{}", host(target, name), target.path);
        Ok(Self { sender, uri })
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, query: Vec<u8>) -> io::Result<Vec<u8>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.uri)
            .header(CONTENT_TYPE, MESSAGE_TYPE)
            .header(ACCEPT, MESSAGE_TYPE)
            .body(Full::new(Bytes::from(query)))
            .map_err(io::Error::other)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        let response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        if response.status() != StatusCode::OK {
            return Err(io::Error::other(format!("the upstream answers {}", response.status())));
        }
        let body = Limited::new(response.into_body(), MESSAGE_MAX).collect().await;
        Ok(body.map_err(io::Error::other)?.to_bytes().to_vec())
    }
}

impl Quic {
    /// Connects, and makes sure who answers there.
    pub(super) async fn open(
        target: &Target,
        name: &ServerName<'static>,
        tls: &ClientConfig,
    ) -> io::Result<Self> {
        let crypto = QuicClientConfig::try_from(speaking(tls, b"doq")).map_err(io::Error::other)?;
        let endpoint = quinn::Endpoint::client(any_port(target.address))?;
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint.connect_with(config, target.address, &name.to_str());
        let connection = connecting.map_err(io::Error::other)?.await?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, query: &[u8]) -> io::Result<Vec<u8>> {
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(&[&length.to_be_bytes(), query].concat()).await?;
        send.finish().map_err(io::Error::other)?;
        let framed = receive.read_to_end(2 + MESSAGE_MAX).await.map_err(io::Error::other)?;
        let whole =
            |(length, answer): &(&[u8; 2], &[u8])| usize::from(u16::from_be_bytes(**length)) == answer.len();
        let answer = framed.split_first_chunk::<2>().filter(whole);
        answer.map(|(_, answer)| answer.to_vec()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.connection.close(NO_ERROR, b"");
    }
}

/// With the protocol that is spoken inside.
fn speaking(tls: &ClientConfig, protocol: &[u8]) -> ClientConfig {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls
}

/// Host and port as a URI has them.
fn host(target: &Target, name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => format!("{}:{}", name.as_ref(), target.address.port()),
        _ => target.address.to_string(),
    }
}
