//! Flow control in front of a tonic server: the health service, as one that takes its time.
//!
//! Refused calls end with RESOURCE_EXHAUSTED and a `RetryInfo`; `grpc-timeout` bounds how long a call
//! waits. A streaming call gives its seat back when the stream starts.

#![forbid(unsafe_code)]

use seaway_apf::layer::{Classified, FlowControlLayer, Hold};
use seaway_apf::{Attributes, FlowControl};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How long a check takes.
pub const WORK: Duration = Duration::from_millis(20);

struct Slow;

type Watch = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Slow {
    type WatchStream = Watch;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        tokio::time::sleep(WORK).await;
        Ok(Response::new(serving()))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Watch>, Status> {
        let ticks = tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(WORK));
        Ok(Response::new(Box::pin(ticks.map(|_| Ok(serving())))))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: 1 }
}

/// Who calls, and when the call's seat is given back.
fn classify<B>(request: &http::Request<B>) -> Classified {
    let user = request.headers().get("x-remote-user").and_then(|user| user.to_str().ok());
    let who = user.map_or_else(Attributes::anonymous, Attributes::user).asks(request.into());
    let is_stream = request.uri().path().ends_with("/Watch");
    Classified::from(who).hold(if is_stream { Hold::UntilResponse } else { Hold::UntilBodyEnds })
}

/// Serves calls until it is dropped.
///
/// # Errors
/// The transport's.
pub async fn serve(listener: TcpListener, control: FlowControl) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .layer(FlowControlLayer::new(control, classify))
        .add_service(HealthServer::new(Slow))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
}
