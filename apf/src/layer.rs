//! Flow control in front of any HTTP service, as a tower layer: axum, tonic, hyper.
//!
//! ```
//! use http::{Request, Response};
//! use seaway_apf::layer::FlowControlLayer;
//! use seaway_apf::{Attributes, Configuration, FlowControl, Settings};
//! use tower::ServiceBuilder;
//!
//! let control = FlowControl::new(Settings::default().seats(20));
//! control.configure(&Configuration::by_user());
//! let layer = FlowControlLayer::new(control, |request: &Request<String>| {
//!     let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
//!     Attributes::user(user.unwrap_or("nobody")).asks(request.into())
//! });
//! let service = ServiceBuilder::new().layer(layer).service_fn(|_: Request<String>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new("done".to_owned()))
//! });
//! # let _ = service;
//! ```
//!
//! # Waiting
//!
//! The layer is always ready: a request is taken, waits for its seats, and only then asks whether the inner
//! service is ready. So a limit inside, such as tower's `ConcurrencyLimit`, gives its permits to requests
//! that have their turn, not to whoever came first.
//!
//! How long a request may wait is said by the [`Terms`] that [`Classify`] gives; else it is a quarter of the
//! time until its deadline ([`Times`], or `grpc-timeout`); else the level's annotation
//! [`MAX_WAIT`](crate::annotations::MAX_WAIT) or [`Settings::max_wait`](crate::Settings::max_wait).
//!
//! # Holding
//!
//! A request holds its seats until its response's body has ended or is dropped. [`Hold::UntilResponse`] gives
//! them back when the response starts. Among the extensions of the request is a [`Held`], with which the
//! handler can give the seats back earlier, or keep them for longer: `spawn_blocking` and the task of an
//! upgraded connection (WebSocket) take the permit with [`Held::keep`] and drop it at their end. Otherwise an
//! upgraded connection holds no seats, as its response has no body.
//!
//! A watch of the Kubernetes API gives its seats back once it has sent its first events: its handler finds a
//! [`WatchStarted`] and signals it. Requests that run as long as their client likes, such as `exec`, pass by.
//!
//! # Refusing
//!
//! By default a refused request is answered with 429, and a gRPC call with the status RESOURCE_EXHAUSTED.
//! [`FlowControlLayer::refuse_with`] takes [`JsonStatus`], [`ProblemJson`], [`Grpc`] or any closure.

mod body;
mod classify;
mod held;
mod refuse;
mod timeout;

pub use body::ReplyBody;
pub use classify::{Classified, Classify, Hold};
pub use held::{Held, WatchStarted};
pub use refuse::{Grpc, GrpcCode, JsonStatus, PlainText, ProblemJson, Refuse};

use crate::control::{FlowControl, Terms};
use crate::request::Verb;
use held::Guard;
use http::{Request, Response};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

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
pub struct FlowControlLayer<C, R = PlainText> {
    control: FlowControl,
    classify: C,
    refuse: R,
    hold: Hold,
}

/// A service with flow control in front.
#[derive(Clone, Debug)]
pub struct FlowControlService<S, C, R = PlainText> {
    inner: S,
    layer: FlowControlLayer<C, R>,
}

type Reply<B, E> = Result<Response<ReplyBody<B>>, E>;

impl<C> FlowControlLayer<C> {
    /// A layer that shares `control` with whoever else has a clone of it.
    pub const fn new(control: FlowControl, classify: C) -> Self {
        Self { control, classify, refuse: PlainText, hold: Hold::UntilBodyEnds }
    }
}

impl<C, R> FlowControlLayer<C, R> {
    /// With other replies to refused requests.
    pub fn refuse_with<T: Refuse>(self, refuse: T) -> FlowControlLayer<C, T> {
        FlowControlLayer { control: self.control, classify: self.classify, refuse, hold: self.hold }
    }

    /// With another time to give seats back, where [`Classify`] does not say.
    #[must_use]
    pub fn hold(self, hold: Hold) -> Self {
        Self { hold, ..self }
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for FlowControlLayer<C, R> {
    type Service = FlowControlService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        FlowControlService { inner, layer: self.clone() }
    }
}

impl<S, C, R, B, T: 'static> Service<Request<B>> for FlowControlService<S, C, R>
where
    S: Service<Request<B>, Response = Response<T>> + Clone + Send + 'static,
    S::Future: Send,
    C: Classify<B>,
    R: Refuse + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<ReplyBody<T>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Reply<T, S::Error>> + Send>>;

    /// Always ready: what is asked of the inner service here would be held while the request waits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut classified = self.layer.classify.classify(&request);
        classified.terms = with_times(classified.terms, &request);
        classified.hold.get_or_insert(self.layer.hold);
        let (control, refuse) = (self.layer.control.clone(), self.layer.refuse.clone());
        Box::pin(serve(self.inner.clone(), request, control, classified, refuse))
    }
}

async fn serve<S, B, T, R>(
    inner: S,
    request: Request<B>,
    control: FlowControl,
    classified: Classified,
    refuse: R,
) -> Reply<T, S::Error>
where
    S: Service<Request<B>, Response = Response<T>>,
    R: Refuse,
{
    let Classified { attributes, terms, hold } = classified;
    let attributes = Arc::new(attributes);
    let is_watch = attributes.request.verb == Verb::Watch;
    if attributes.request.is_long_running() && !is_watch {
        return Ok(call(inner, request).await?.map(|body| ReplyBody::new(body, None)));
    }
    let (parts, body) = request.into_parts();
    let permit = match control.acquire_with(Arc::clone(&attributes), terms).await {
        Ok(permit) => permit,
        Err(refusal) => {
            let mut response = refuse.refuse(&refusal, &parts).map(ReplyBody::text);
            refuse::add_names(&mut response, &refusal.names);
            return Ok(response);
        }
    };
    let names = permit.names().clone();
    let watch = is_watch.then(|| control.engine().watches.register(&attributes.request)).flatten();
    let seats = Guard::new(permit);
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(seats.held());
    if is_watch {
        request.extensions_mut().insert(WatchStarted(seats.held()));
    }
    let response = call(inner, request).await?;
    if hold == Some(Hold::UntilResponse) {
        seats.held().release();
    }
    let mut response = response.map(|body| ReplyBody::new(body, Some((seats, watch))));
    refuse::add_names(&mut response, &names);
    Ok(response)
}

/// Waits until the service is ready, and calls it.
async fn call<S: Service<Request<B>>, B>(mut inner: S, request: Request<B>) -> Result<S::Response, S::Error> {
    poll_fn(|context| inner.poll_ready(context)).await?;
    inner.call(request).await
}

/// Fills in the times that the request itself tells.
fn with_times<B>(terms: Terms, request: &Request<B>) -> Terms {
    let times = request.extensions().get::<Times>().copied().unwrap_or_default();
    let received = terms.received.or(times.received);
    let start = || received.unwrap_or_else(|| tokio::time::Instant::now().into_std());
    let deadline = terms.deadline.or(times.deadline);
    let deadline = deadline.or_else(|| start().checked_add(timeout::of(request.headers())?));
    Terms { received, deadline, ..terms }
}
