//! `seaway apf serve`: a reverse proxy that puts flow control in front of any HTTP server.

mod admin;
mod proxy;
mod reload;
mod tls;

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
use tls::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
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
    let tls = args.tls.acceptor()?;
    let identity = Identity {
        user: args.user_header,
        group: args.group_header,
        certificates_only: args.tls.asks_for_certificates(),
    };
    let admin =
        accept(admin, None, hyper::service::service_fn(move |request| admin::answer(shown.clone(), request)));
    let proxy = Proxy::new(&args.upstream)?;
    match args.limiter {
        Limiter::Apf => {
            let layer = FlowControlLayer::new(control, move |request: &_| identity.attributes(request));
            let service = TowerToHyperService::new(layer.layer(proxy));
            tokio::try_join!(accept(listener, tls, service), admin)?;
        }
        Limiter::MaxInFlight => {
            let service = TowerToHyperService::new(proxy::OldWay::new(proxy, args.max_in_flight));
            tokio::try_join!(accept(listener, tls, service), admin)?;
        }
    }
    Ok(())
}

/// Serves connections until the program is told to stop.
async fn accept<S, B>(listener: TcpListener, tls: Option<TlsAcceptor>, service: S) -> anyhow::Result<()>
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
        let (service, tls) = (service.clone(), tls.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else { return converse(stream, None, service).await };
            match tls.accept(stream).await {
                Ok(stream) => {
                    let peer = tls::peer(&stream);
                    converse(stream, peer, service).await;
                }
                Err(e) => debug!("no TLS: {e}"),
            }
        });
    }
}

/// Serves one connection; its requests carry what the client's certificate says.
async fn converse<T, S, B>(stream: T, peer: Option<Peer>, service: S)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body_util::BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        service.call(request)
    });
    let connection = Builder::new(TokioExecutor::new()).http1_only();
    if let Err(e) = connection.serve_connection(TokioIo::new(stream), service).await {
        debug!("connection ended: {e}");
    }
}
