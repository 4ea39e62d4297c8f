//! Connections that go on with another protocol, such as WebSocket: both sides are joined.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

/// Asks the server behind to go on with a protocol.
pub(super) fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Joins the client's connection to that of a server which has agreed. The join holds no seats and ends
/// with either side.
pub(super) fn join(client: OnUpgrade, response: &mut Response<Incoming>, protocol: Option<HeaderValue>) {
    debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let server = hyper::upgrade::on(&mut *response);
    if let Some(protocol) = protocol {
        ask(response.headers_mut(), protocol);
    }
    tokio::spawn(async move {
        let (client, server) = match tokio::try_join!(client, server) {
            Ok(both) => both,
            Err(e) => return debug!("upgrade failed: {e}"),
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        if let Err(e) = copy_bidirectional(&mut client, &mut server).await {
            debug!("upgraded connection ended: {e}");
        }
    });
}
