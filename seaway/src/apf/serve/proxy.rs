//! Passing requests on to one server.

use super::identity::Identity;
use super::{hop, upgrade};
use anyhow::Context;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use seaway_apf::layer::WatchStarted;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tower::Service;
use tracing::warn;

pub(super) type Body = Either<Incoming, Full<Bytes>>;
pub(super) type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Time for the server behind to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection to it is kept without a request.
const IDLE: Duration = Duration::from_secs(60);

/// Passes requests on to one server.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    scheme: Scheme,
    authority: Authority,
    identity: Identity,
}

impl Proxy {
    pub(super) fn new(upstream: &Uri, identity: Identity) -> anyhow::Result<Self> {
        anyhow::ensure!(upstream.scheme() == Some(&Scheme::HTTP), "upstream {upstream} is no http:// URL");
        let authority = upstream.authority().cloned();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let authority = authority.with_context(|| format!("upstream {upstream} names no host"))?;
        Ok(Self { client, scheme: Scheme::HTTP, authority, identity })
    }

    pub(super) async fn pass(self, mut request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return text_reply(StatusCode::NOT_IMPLEMENTED, "CONNECT is not supported\n".to_owned());
        }
        if !hop::settle_host(&mut request) {
            return text_reply(StatusCode::BAD_REQUEST, "the request needs one Host header\n".to_owned());
        }
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri =
            Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        match uri.build() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(e) => return text_reply(StatusCode::BAD_REQUEST, format!("bad request path: {e}\n")),
        }
        let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
        let protocol = hop::upgrade(version, request.headers());
        hop::strip(request.headers_mut());
        hop::add_via(request.headers_mut(), version);
        self.identity.assert(&mut request);
        // The server behind does not tell when a watch has sent its first events: passing it on is the sign.
        if let Some(started) = request.extensions_mut().remove::<WatchStarted>() {
            started.signal();
        }
        let client = protocol.map(|protocol| {
            upgrade::ask(request.headers_mut(), protocol);
            hyper::upgrade::on(&mut request)
        });
        match self.client.request(request).await {
            Ok(response) => answer(response, client),
            Err(e) => {
                warn!("upstream {} failed: {e}", self.authority);
                text_reply(StatusCode::BAD_GATEWAY, "the upstream server does not answer\n".to_owned())
            }
        }
    }
}

/// What the client gets of the server's response.
fn answer(mut response: Response<Incoming>, client: Option<hyper::upgrade::OnUpgrade>) -> Response<Body> {
    let (switches, version) = (response.status() == StatusCode::SWITCHING_PROTOCOLS, response.version());
    let protocol = hop::upgrade(version, response.headers());
    hop::strip(response.headers_mut());
    hop::add_via(response.headers_mut(), version);
    match client {
        Some(client) if switches => upgrade::join(client, &mut response, protocol),
        None if switches => {
            let text = "the upstream server switched protocols without being asked to\n";
            return text_reply(StatusCode::BAD_GATEWAY, text.to_owned());
        }
        _ => {}
    }
    response.map(Either::Left)
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Reply {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.pass(request).await) })
    }
}

pub(super) fn text_reply(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}
