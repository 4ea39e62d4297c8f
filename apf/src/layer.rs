//! Flow control in front of any HTTP service, as a tower layer.
//!
//! A request waits for seats before the inner service is called, and holds them until its response
//! body has ended or is dropped. A watch gives them back once it has sent its first events: the
//! inner service finds a [`WatchStarted`] among the request's extensions and signals it. Requests that
//! run as long as their client likes, such as `exec`, pass by. A refused request is answered with 429.
//!
//! Who asks, and what for, is said by the [`Classify`] given: usually a closure that looks at what the
//! authentication before it left among the extensions.

mod body;

pub use body::{HeldBody, WatchStarted};

use crate::control::FlowControl;
use crate::engine::{Names, Refusal};
use crate::headers;
use crate::request::Attributes;
use crate::wait;
use body::Seats;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Tells who asks, and what for.
pub trait Classify<B> {
    /// The attributes of a request.
    fn classify(&self, request: &Request<B>) -> Attributes;
}

/// When a request came in and when its client stops waiting for the reply; an extension that code
/// before the layer may set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// When its first byte came in.
    pub received: Option<Instant>,
    /// When its reply is worth nothing any more.
    pub deadline: Option<Instant>,
}

/// Puts flow control in front of a service.
#[derive(Clone, Debug)]
pub struct FlowControlLayer<C> {
    control: FlowControl,
    classify: C,
}

/// A service with flow control in front.
#[derive(Clone, Debug)]
pub struct FlowControlService<S, C> {
    inner: S,
    control: FlowControl,
    classify: C,
}

/// Body of a reply: the service's, or a refusal's text.
pub type ReplyBody<B> = Either<HeldBody<B>, Full<Bytes>>;

type Reply<B, E> = Result<Response<ReplyBody<B>>, E>;

impl<B, F: Fn(&Request<B>) -> Attributes> Classify<B> for F {
    fn classify(&self, request: &Request<B>) -> Attributes {
        self(request)
    }
}

impl<C> FlowControlLayer<C> {
    /// A layer that shares `control` with whoever else has a clone of it.
    pub const fn new(control: FlowControl, classify: C) -> Self {
        Self { control, classify }
    }
}

impl<S, C: Clone> Layer<S> for FlowControlLayer<C> {
    type Service = FlowControlService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        FlowControlService { inner, control: self.control.clone(), classify: self.classify.clone() }
    }
}

impl<S, C, B, R: 'static> Service<Request<B>> for FlowControlService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    C: Classify<B>,
    B: Send + 'static,
{
    type Response = Response<ReplyBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Reply<R, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        let attributes = Arc::new(self.classify.classify(&request));
        Box::pin(serve(ready, request, self.control.clone(), attributes))
    }
}

async fn serve<S, B, R>(
    mut inner: S,
    mut request: Request<B>,
    control: FlowControl,
    attributes: Arc<Attributes>,
) -> Reply<R, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    let is_watch = attributes.request.verb == "watch";
    if attributes.request.is_long_running() && !is_watch {
        let response = inner.call(request).await?;
        return Ok(response.map(|body| Either::Left(HeldBody::new(body, Seats::default(), None))));
    }
    let deadline = deadline(&control, request.extensions().get::<Times>().copied().unwrap_or_default());
    let permit = match control.acquire_until(Arc::clone(&attributes), Some(deadline)).await {
        Ok(permit) => permit,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let names = permit.names().clone();
    let watch = is_watch.then(|| control.engine().watches.register(&attributes.request)).flatten();
    let seats = Seats::of(permit);
    if is_watch {
        request.extensions_mut().insert(WatchStarted::new(seats.clone()));
    }
    let response = inner.call(request).await?;
    let mut response = response.map(|body| Either::Left(HeldBody::new(body, seats, watch)));
    add_names(&mut response, &names);
    Ok(response)
}

fn deadline(control: &FlowControl, times: Times) -> Instant {
    let now = Instant::now();
    let now_ns = control.now_ns();
    let at_ns = |at: Instant| {
        let ahead = at.saturating_duration_since(now).as_nanos();
        let behind = now.saturating_duration_since(at).as_nanos();
        let ns = |span: u128| u64::try_from(span).unwrap_or(u64::MAX);
        now_ns.saturating_add(ns(ahead)).saturating_sub(ns(behind))
    };
    let until_ns =
        wait::deadline_ns(now_ns, times.received.map(at_ns), times.deadline.map(at_ns), wait::DEFAULT_NS);
    now + std::time::Duration::from_nanos(until_ns.saturating_sub(now_ns))
}

/// The reply to a refused request.
#[must_use]
pub fn refused<B>(refusal: &Refusal) -> Response<ReplyBody<B>> {
    let body = Full::new(Bytes::from_static(headers::REFUSED_BODY.as_bytes()));
    let mut response = Response::new(Either::Right(body));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let fields = response.headers_mut();
    fields.insert(RETRY_AFTER, HeaderValue::from(refusal.retry_after_s));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    add_names(&mut response, &refusal.names);
    response
}

fn add_names<B>(response: &mut Response<B>, names: &Names) {
    for (name, value) in
        [(headers::PRIORITY_LEVEL_UID, &names.level_uid), (headers::FLOW_SCHEMA_UID, &names.schema_uid)]
    {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}
