//! The agent over HTTP: `/healthz` and `/livez` on one address; `/metrics` and `/proxyMode` on another.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args as ClapArgs;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use seaway_dataplane::health::Answer;
use tokio::net::TcpListener;

use super::http_server::{self, response};
use super::told::Told;

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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address =
            text.parse().map_err(|_| "an address and a port are wanted, such as 0.0.0.0:10256".to_owned());
        address.map(|address| Self(Some(address)))
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
            let respond = move |request| respond(page, told.clone(), request);
            tokio::spawn(http_server::accept(listener.into(), respond));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Page {
    Health,
    Metrics,
}

async fn respond(
    page: Page,
    told: Told,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    Ok(match page {
        Page::Health => {
            let method = request.method().as_str();
            let answer = told.health(|health| health.answer(method, target, SystemTime::now()));
            told.metrics().answered(request.uri().path(), answer.status);
            response(answer.sent(method))
        }
        Page::Metrics => match request.uri().path() {
            "/metrics" => metrics(&told).await,
            "/proxyMode" => text(StatusCode::OK, "text/plain", MODE.to_owned()),
            _ => text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned()),
        },
    })
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

fn text(status: StatusCode, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let headers = vec![("Content-Type", content_type.to_owned())];
    response(Answer { status: status.as_u16(), headers, body })
}
