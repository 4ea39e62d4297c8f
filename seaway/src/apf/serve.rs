//! `seaway apf serve`: a reverse proxy that puts flow control in front of any HTTP server.

mod admin;
mod proxy;
mod reload;

use super::{Common, Limiter, max_in_flight};
use anyhow::Context;
use http::Uri;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use proxy::{Identity, Proxy};
use seaway_apf::control::FlowControl;
use seaway_apf::layer::FlowControlLayer;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tower::Layer;
use tracing::{debug, info};
use tracing_subscriber::EnvFilter;

/// Arguments of `seaway apf serve`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// What requests meet.
    #[arg(long, value_enum, default_value_t)]
    limiter: Limiter,
    #[command(flatten)]
    max_in_flight: max_in_flight::Limits,
    /// Server to pass requests on to.
    #[arg(long, value_name = "URL", env = "SEAWAY_APF_UPSTREAM")]
    upstream: Uri,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to show metrics and dumps; not for clients.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Header with the user name. Whoever can reach the proxy can set it: put authentication in front.
    #[arg(long, value_name = "NAME", default_value = "x-remote-user")]
    user_header: http::HeaderName,
    /// Header with one group; may be repeated.
    #[arg(long, value_name = "NAME", default_value = "x-remote-group")]
    group_header: http::HeaderName,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let control = FlowControl::new(args.common.settings());
    reload::apply(&control, &args.common.configuration()?);
    let _watcher = reload::watch(&control, &args.common)?;
    let background = control.clone();
    tokio::spawn(async move { background.run().await });

    let bind = async |address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let (listener, admin) = (bind(args.listen).await?, bind(args.admin).await?);
    info!(
        "listening on http://{}, metrics and dumps on http://{}",
        listener.local_addr()?,
        admin.local_addr()?
    );

    let shown = control.clone();
    let admin =
        accept(admin, hyper::service::service_fn(move |request| admin::answer(shown.clone(), request)));
    let proxy = Proxy::new(&args.upstream)?;
    let identity = Identity { user: args.user_header, group: args.group_header };
    match args.limiter {
        Limiter::Apf => {
            let layer = FlowControlLayer::new(control, move |request: &_| identity.attributes(request));
            let service = TowerToHyperService::new(layer.layer(proxy));
            tokio::try_join!(accept(listener, service), admin)?;
        }
        Limiter::MaxInFlight => {
            let service = TowerToHyperService::new(proxy::OldWay::new(proxy, args.max_in_flight));
            tokio::try_join!(accept(listener, service), admin)?;
        }
    }
    Ok(())
}

/// Serves connections until the program is told to stop.
async fn accept<S, B>(listener: TcpListener, service: S) -> anyhow::Result<()>
where
    S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body_util::BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            stop = tokio::signal::ctrl_c() => return stop.context("cannot wait for the signal to stop"),
        };
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new()).http1_only();
            if let Err(e) = connection.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
                debug!("connection ended: {e}");
            }
        });
    }
}
