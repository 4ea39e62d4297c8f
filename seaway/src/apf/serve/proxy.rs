//! Passing requests on, and who sends them.

use super::tls::Peer;
use crate::apf::explain::attributes;
use crate::apf::max_in_flight::{Limits, MaxInFlight};
use anyhow::Context;
use bytes::Bytes;
use http::header::{CONNECTION, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seaway_apf::headers;
use seaway_apf::layer::WatchStarted;
use seaway_apf::request::{Attributes, RequestInfo};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use tower::Service;
use tracing::warn;

type Body = Either<Incoming, Full<Bytes>>;
type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Where it is said who asks.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub user: HeaderName,
    pub group: HeaderName,
    /// Certificates alone say it: headers could be set by anyone.
    pub certificates_only: bool,
}

/// Passes requests on to one server.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    scheme: Scheme,
    authority: Authority,
}

/// Passes requests on while not too many are in flight.
#[derive(Clone, Debug)]
pub(super) struct OldWay {
    proxy: Proxy,
    in_flight: Arc<Mutex<MaxInFlight>>,
}

struct InFlight {
    all: Arc<Mutex<MaxInFlight>>,
    is_read: bool,
}

impl Identity {
    pub(super) fn attributes<B>(&self, request: &Request<B>) -> Attributes {
        if self.certificates_only {
            let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
            return attributes(peer.user, peer.groups, info(request));
        }
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
        let user = request.headers().get(&self.user).and_then(text);
        let groups = request.headers().get_all(&self.group).iter().filter_map(text).collect();
        attributes(user.unwrap_or_else(|| "system:anonymous".into()), groups, info(request))
    }
}

impl Proxy {
    pub(super) fn new(upstream: &Uri) -> anyhow::Result<Self> {
        anyhow::ensure!(upstream.scheme() == Some(&Scheme::HTTP), "upstream {upstream} is no http:// URL");
        let authority = upstream.authority().cloned();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            scheme: Scheme::HTTP,
            authority: authority.with_context(|| format!("upstream {upstream} names no host"))?,
        })
    }

    async fn pass(self, mut request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme).authority(self.authority.clone()).path_and_query(path);
        match uri.build() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(e) => return said(StatusCode::BAD_REQUEST, format!("bad request path: {e}\n")),
        }
        request.headers_mut().remove(CONNECTION);
        // The server behind does not tell when a watch has sent its first events: passing it on is the sign.
        if let Some(started) = request.extensions_mut().remove::<WatchStarted>() {
            started.signal();
        }
        match self.client.request(request).await {
            Ok(response) => response.map(Either::Left),
            Err(e) => {
                warn!("{} does not answer: {e}", self.authority);
                said(StatusCode::BAD_GATEWAY, "the server behind does not answer\n".to_owned())
            }
        }
    }
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

impl OldWay {
    pub(super) fn new(proxy: Proxy, limits: Limits) -> Self {
        Self { proxy, in_flight: Arc::new(Mutex::new(MaxInFlight::new(limits))) }
    }
}

impl Service<Request<Incoming>> for OldWay {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Reply {
        let info = info(&request);
        let (proxy, is_read) = (self.proxy.clone(), info.is_read_only());
        if info.is_long_running() || info.verb == "watch" {
            return Box::pin(async move { Ok(proxy.pass(request).await) });
        }
        if !self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).enter(is_read) {
            let mut reply = said(StatusCode::TOO_MANY_REQUESTS, headers::REFUSED_BODY.to_owned());
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Box::pin(async move { Ok(reply) });
        }
        let held = InFlight { all: Arc::clone(&self.in_flight), is_read };
        Box::pin(async move {
            let reply = proxy.pass(request).await;
            drop(held);
            Ok(reply)
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).leave(self.is_read);
    }
}

fn info<B>(request: &Request<B>) -> RequestInfo {
    let url = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    RequestInfo::parse(request.method().as_str(), url)
}

fn said(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}
