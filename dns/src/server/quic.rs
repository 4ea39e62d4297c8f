//! DNS over QUIC (RFC 9250): a stream for each query.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime,
};
use quinn::{TransportConfig, VarInt};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::service::{Arrival, Service};
use crate::block::Place;
use crate::wire::writer::Transport;

/// Connections at once; others are turned away.
const CONNECTIONS_MAX: usize = 4096;
/// Queries of one connection at once.
const STREAMS_MAX: u32 = 128;
/// The longest query with its length.
const QUERY_MAX: usize = 2 + 65_535;
const READ: Duration = Duration::from_secs(5);
const IDLE_MS: u32 = 10_000;
/// `DOQ_PROTOCOL_ERROR` (RFC 9250 section 8.4).
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
/// `DOQ_INTERNAL_ERROR`.
const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);

/// Accepts connections until the server ends.
pub(super) async fn serve(
    socket: UdpSocket,
    service: Arc<Service>,
    place: Place,
    mut ended: watch::Receiver<bool>,
) {
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime));
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => return tracing::error!(%error, "cannot serve over QUIC"),
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Looked up each time: a reload may have brought another certificate.
        endpoint.set_server_config(config(&service, place));
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = ended.changed() => return endpoint.close(VarInt::from_u32(0), b""),
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = converse(incoming, service, place).await {
                tracing::debug!(%error, "a connection over QUIC ended");
            }
        });
    }
}

fn config(service: &Service, place: Place) -> Option<ServerConfig> {
    let tls = QuicServerConfig::try_from(service.engine().tls(place)?).ok()?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(STREAMS_MAX.into()).max_concurrent_uni_streams(0_u32.into());
    transport.max_idle_timeout(Some(VarInt::from_u32(IDLE_MS).into()));
    config.transport_config(Arc::new(transport));
    Some(config)
}

async fn converse(incoming: Incoming, service: Arc<Service>, place: Place) -> io::Result<()> {
    let connection = incoming.await?;
    let (peer, local) = (connection.remote_address(), connection.local_ip());
    let arrival = Arrival { transport: Transport::Tcp, place, peer, local };
    loop {
        let (send, receive) = connection.accept_bi().await?;
        let (connection, service) = (connection.clone(), Arc::clone(&service));
        tokio::spawn(async move {
            if answer(send, receive, service, arrival).await.is_none() {
                close(&connection);
            }
        });
    }
}

/// Answers the query of a stream; `None` if the client does not keep to the protocol.
async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    service: Arc<Service>,
    arrival: Arrival,
) -> Option<()> {
    let read = timeout(READ, receive.read_to_end(QUERY_MAX)).await.ok()?.ok()?;
    let (length, query) = read.split_first_chunk::<2>()?;
    let whole = usize::from(u16::from_be_bytes(*length)) == query.len();
    // The stream tells queries apart; the identifier is 0.
    if !whole || query.get(..2) != Some(&[0, 0]) {
        return None;
    }
    let answers = match service.engine().transfer(query, arrival.place, arrival.peer) {
        Some(messages) => messages,
        None => Arc::clone(&service).resolve(query.to_vec(), arrival).await.into_iter().collect(),
    };
    if answers.is_empty() {
        _ = send.reset(INTERNAL_ERROR);
    }
    for answer in answers {
        let length = u16::try_from(answer.len()).ok()?;
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        // The client may be gone, which is its own affair.
        if send.write_all(&framed).await.is_err() {
            return Some(());
        }
    }
    _ = send.finish();
    Some(())
}

fn close(connection: &Connection) {
    connection.close(PROTOCOL_ERROR, b"one query a stream, its length in front, its identifier 0");
}
