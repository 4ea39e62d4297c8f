//! DNS over HTTPS (RFC 8484): `/dns-query`, by GET and POST, over HTTP/2 and HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::service::{Arrival, Service};
use crate::wire::relay::Relayed;

const PATH: &str = "/dns-query";
const MESSAGE_TYPE: &str = "application/dns-message";
const MESSAGE_MAX: usize = 65_535;
const STREAMS_MAX: u32 = 128;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the requests of a connection.
pub(super) async fn converse(
    stream: TlsStream<TcpStream>,
    service: Arc<Service>,
    arrival: Arrival,
) -> io::Result<()> {
    let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(respond(request, service, arrival).await) }
    });
    let stream = TokioIo::new(stream);
    if second {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        builder.keep_alive_interval(Some(Duration::from_secs(30)));
        builder.serve_connection(stream, answer).await.map_err(io::Error::other)
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        builder.serve_connection(stream, answer).await.map_err(io::Error::other)
    }
}

async fn respond(
    request: Request<Incoming>,
    service: Arc<Service>,
    arrival: Arrival,
) -> Response<Full<Bytes>> {
    let metrics = Arc::clone(&service);
    let response = match message(request).await {
        Err(status) => plain(status),
        Ok(query) => match service.resolve(query.clone(), arrival).await {
            None => plain(StatusCode::BAD_REQUEST),
            Some(answer) => {
                let fresh_s = Relayed::read(&answer, &query).ok().and_then(|answer| answer.lowest_ttl_s());
                let mut response = Response::new(Full::new(Bytes::from(answer)));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE_TYPE));
                let age = format!("max-age={}", fresh_s.unwrap_or_default());
                if let Ok(age) = HeaderValue::from_str(&age) {
                    headers.insert(CACHE_CONTROL, age);
                }
                response
            }
        },
    };
    metrics.metrics().https(arrival.place.port, response.status().as_u16()).fetch_add(1, Ordering::Relaxed);
    response
}

/// The query that a request carries.
async fn message(request: Request<Incoming>) -> Result<Vec<u8>, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => {
            let parts = request.uri().query().unwrap_or_default().split('&');
            let text = parts.filter_map(|part| part.strip_prefix("dns=")).next();
            let text = text.ok_or(StatusCode::BAD_REQUEST)?.trim_end_matches('=');
            BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != MESSAGE_TYPE) {
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            let body = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), MESSAGE_MAX).collect()).await;
            let body = body.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
            Ok(body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes().into())
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(status.to_string())));
    *response.status_mut() = status;
    response
}
