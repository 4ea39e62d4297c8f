//! Accepting connections and answering their requests; what with is the caller's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seaway_dataplane::health::Answer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections that are served at once; others wait for their turn.
const CONNECTIONS_MAX: usize = 64;
/// A client has this long to send its request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Serves a listener until the task ends; connections end with it.
pub(super) async fn accept<R, F>(listener: Arc<TcpListener>, respond: R)
where
    R: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for instance: a moment later there may be one.
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let respond = respond.clone();
        connections.spawn(async move {
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            let service = service_fn(respond);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
}

/// The answer as it is sent.
pub(super) fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(answer.body));
    response.body(body).expect("the status and headers of an answer are valid")
}
