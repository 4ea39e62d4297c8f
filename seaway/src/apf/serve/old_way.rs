//! The proxy with kube-apiserver's old limits, for comparison: so many requests in flight, whoever asks.

use super::proxy::{Body, Proxy, Reply, text_reply};
use crate::apf::max_in_flight::{Limits, MaxInFlight};
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use seaway_apf::request::Verb;
use seaway_apf::{RequestInfo, headers};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tower::Service;

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

impl OldWay {
    pub(super) fn new(proxy: Proxy, limits: Limits) -> Self {
        Self { proxy, in_flight: Arc::new(Mutex::new(MaxInFlight::new(limits))) }
    }
}

impl Service<Request<Incoming>> for OldWay {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Reply {
        let info = RequestInfo::from(&request);
        let (proxy, is_read) = (self.proxy.clone(), info.is_read_only());
        if info.is_long_running() || info.verb == Verb::Watch {
            return Box::pin(async move { Ok(proxy.pass(request).await) });
        }
        if !self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).enter(is_read) {
            let mut reply = text_reply(StatusCode::TOO_MANY_REQUESTS, headers::REFUSED_BODY.to_owned());
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
