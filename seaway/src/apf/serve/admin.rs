//! Metrics and dumps.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use seaway_apf::control::FlowControl;
use seaway_apf::dump::{Dump, PATH};
use std::convert::Infallible;

pub(super) async fn answer(
    control: FlowControl,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let as_json = accepts.is_some_and(|accepts| accepts.contains("application/json"));
    let engine = control.engine();
    Ok(match (path, Dump::at(path, query)) {
        ("/metrics", _) => text(engine.metrics(control.now_ns()).text()),
        ("/healthz", _) => text("ok\n".to_owned()),
        (_, Some(dump)) if as_json => json(&engine.dump_json(dump)),
        // The endpoints of the Kubernetes API server set no content type.
        (_, Some(dump)) => Response::new(Full::from(engine.dump(dump))),
        _ if path.strip_prefix(PATH) == Some("top_flows") => json(&engine.top_flows_json()),
        _ => {
            let known = format!(
                "see /metrics, /healthz and {PATH}dump_priority_levels, dump_queues, dump_requests, top_flows\n"
            );
            let mut response = text(known);
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

fn text(text: String) -> Response<Full<Bytes>> {
    with_type(text, "text/plain; version=0.0.4; charset=utf-8")
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    with_type(value.to_string(), "application/json")
}

fn with_type(body: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
