//! `seaway apf serve`: a reverse proxy that puts flow control in front of any HTTP server.

mod admin;
mod hop;
mod identity;
mod listen;
mod old_way;
mod proxy;
mod reload;
mod tls;
mod upgrade;

use super::{Common, Limiter, max_in_flight};
use anyhow::Context;
use http::Uri;
use hyper_util::service::TowerToHyperService;
use identity::Identity;
use listen::Front;
use proxy::Proxy;
use seaway_apf::FlowControl;
use seaway_apf::layer::FlowControlLayer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::Layer;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Arguments of `seaway apf serve`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Limiter to apply to requests.
    #[arg(long, value_enum, default_value_t)]
    limiter: Limiter,
    #[command(flatten)]
    max_in_flight: max_in_flight::Limits,
    /// Server to proxy requests to.
    #[arg(long, value_name = "URL", env = "SEAWAY_APF_UPSTREAM")]
    upstream: Uri,
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address for metrics and dumps; keep it away from clients.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    admin: SocketAddr,
    /// Header with the user name. Without --client-ca it is trusted as it comes: put an authenticating
    /// proxy in front. With --client-ca it is removed from requests and set from the certificate.
    #[arg(long, value_name = "NAME", default_value = "x-remote-user")]
    user_header: http::HeaderName,
    /// Header with one group, may be repeated; trusted, removed and set as the user header is.
    #[arg(long, value_name = "NAME", default_value = "x-remote-group")]
    group_header: http::HeaderName,
    /// Seconds that requests in flight may take to finish after SIGTERM or SIGINT.
    #[arg(long, value_name = "S", default_value_t = 30)]
    drain_timeout_s: u64,
    #[command(flatten)]
    tls: tls::Files,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let control = FlowControl::new(args.common.settings());
    reload::follow(&control, &args.common)?;
    // Before the addresses are known to anybody, so that no signal finds nobody there.
    let stop = stop_signal()?;
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let (listener, admin) = (bind(args.listen).await?, bind(args.admin).await?);
    info!(
        "listening on http://{}, metrics and dumps on http://{}",
        listener.local_addr()?,
        admin.local_addr()?
    );
    let drain = Duration::from_secs(args.drain_timeout_s);
    let front = Front { listener, tls: args.tls.acceptor()?, stop: stop.clone(), drain };
    let admin = Front { listener: admin, tls: None, stop, drain: Duration::from_secs(1) };
    let identity = Identity::new(args.user_header, args.group_header, args.tls.asks_for_certificates());
    let proxy = Proxy::new(&args.upstream, identity.clone())?;

    let shown = control.clone();
    let admin =
        admin.serve(hyper::service::service_fn(move |request| admin::answer(shown.clone(), request)), || ());
    match args.limiter {
        Limiter::Apf => {
            let closing = control.clone();
            let layer = FlowControlLayer::new(control, move |request: &_| identity.attributes(request));
            let service = TowerToHyperService::new(layer.layer(proxy));
            tokio::join!(front.serve(service, move || closing.shut_down()), admin);
        }
        Limiter::MaxInFlight => {
            let service = TowerToHyperService::new(old_way::OldWay::new(proxy, args.max_in_flight));
            tokio::join!(front.serve(service, || ()), admin);
        }
    }
    Ok(())
}

/// Changes to true with the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (stopped, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!("{name}: finishing requests in flight");
        stopped.send_replace(true);
    });
    Ok(stop)
}
