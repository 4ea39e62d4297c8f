//! The agent over HTTP: `/healthz` and `/livez` on one address; `/metrics` and `/proxyMode` on another.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args as ClapArgs;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seaway_dataplane::health::proxy::Answer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::told::Told;

/// Connections that are served at once; others wait for their turn.
const CONNECTIONS_MAX: usize = 64;
/// A client has this long to send its request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// What `/proxyMode` says.
const MODE: &str = "seaway";

/// Where the agent answers. The defaults are kube-proxy's.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "HTTP")]
#[group(skip)]
pub(super) struct Args {
    /// Answer /healthz and /livez here; empty: nowhere.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "SEAWAY_HEALTHZ_BIND_ADDRESS",
        default_value = "0.0.0.0:10256"
    )]
    healthz_bind_address: Place,
    /// Answer /metrics and /proxyMode here; empty: nowhere.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "SEAWAY_METRICS_BIND_ADDRESS",
        default_value = "127.0.0.1:10249"
    )]
    metrics_bind_address: Place,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug)]
struct Place(Option<SocketAddr>);

impl std::str::FromStr for Place {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

/// Listens, and answers in tasks of the current runtime.
pub(super) async fn start(args: &Args, told: &Told) -> Result<()> {
    let places = [
        ("healthz-bind-address", args.healthz_bind_address, Page::Health),
        ("metrics-bind-address", args.metrics_bind_address, Page::Metrics),
    ];
    for (flag, place, page) in places {
        if let Some(address) = place.0 {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("cannot listen on --{flag} {address}"))?;
            let told = told.clone();
            let answer = move |uri: &Uri| answer(page, told.clone(), uri.clone());
            tokio::spawn(accept(listener, answer));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Page {
    Health,
    Metrics,
}

/// Answers every request, whatever its method, by its target.
pub(super) async fn accept<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(&Uri) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for instance: a moment later there may be one.
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answered = answer(request.uri());
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
}

async fn answer(page: Page, told: Told, uri: Uri) -> Response<Full<Bytes>> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    match page {
        Page::Health => {
            let answer = told.health(|health| health.answer(target, SystemTime::now()));
            told.metrics().answered(uri.path(), answer.status);
            response(answer)
        }
        Page::Metrics => match uri.path() {
            "/metrics" => metrics(&told).await,
            "/proxyMode" => text(StatusCode::OK, "text/plain", MODE.to_owned()),
            _ => text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned()),
        },
    }
}

/// Reading the kernel's maps takes longer than the loop may wait.
async fn metrics(told: &Told) -> Response<Full<Bytes>> {
    let metrics = Arc::clone(told.metrics());
    match tokio::task::spawn_blocking(move || metrics.text()).await {
        Ok(Ok(body)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            text(StatusCode::OK, kind, body)
        }
        _ => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            "the metrics cannot be written\n".to_owned(),
        ),
    }
}

/// As HTTP.
pub(super) fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(answer.body));
    response.body(body).expect("the status and headers of an answer are valid")
}

fn text(status: StatusCode, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let headers = vec![("Content-Type", content_type.to_owned())];
    response(Answer { status: status.as_u16(), headers, body })
}
