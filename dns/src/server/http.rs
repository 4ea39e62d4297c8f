//! Pages for machines: `/health`, `/ready` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::service::Service;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a listener tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Page {
    /// Whether the process lives.
    Health,
    /// Whether it can answer.
    Ready,
    /// What it counted.
    Metrics,
}

/// Serves one page until the server ends.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    page: Page,
    service: Arc<Service>,
    mut ended: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, ?page, "cannot accept connections"),
    };
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.changed() => return,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(page, &service, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for a page ended");
            }
        });
    }
}

fn respond(page: Page, service: &Arc<Service>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match (page, request.uri().path()) {
        (Page::Health, "/health") => (StatusCode::OK, "OK".to_owned()),
        (Page::Ready, "/ready") => match service.unready(Instant::now()) {
            None => (StatusCode::OK, "OK".to_owned()),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        (Page::Metrics, "/metrics") => match service.metrics_text() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        _ => (StatusCode::NOT_FOUND, "not found".to_owned()),
    };
    let kind = if page == Page::Metrics { METRICS_TYPE } else { "text/plain; charset=utf-8" };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
