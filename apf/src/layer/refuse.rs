//! The replies to refused requests: ready-made forms, and the author's own.

mod grpc;

pub use grpc::{Grpc, GrpcCode};

use crate::headers;
use crate::queueset::Reason;
use crate::refusal::Refusal;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode, request};
use serde_json::json;

/// Answers a refused request. A closure does:
///
/// ```
/// use http::{Response, StatusCode, request};
/// use seaway_apf::Refusal;
///
/// let teapot = |refusal: &Refusal, _: &request::Parts| {
///     let mut response = Response::new(format!("come back in {} s", refusal.retry_after_s));
///     *response.status_mut() = StatusCode::IM_A_TEAPOT;
///     response
/// };
/// # fn takes(_: impl seaway_apf::layer::Refuse) {}
/// # takes(teapot);
/// ```
///
/// The layer adds the two identity headers of kube-apiserver to whatever the answer is.
pub trait Refuse {
    /// The reply; `request` is what was refused.
    fn refuse(&self, refusal: &Refusal, request: &request::Parts) -> Response<Vec<u8>>;
}

/// As kube-apiserver does: 429 with Retry-After and a line of text. A gRPC request is answered as
/// [`Grpc`] does, and all are answered with 503 while the server shuts down.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PlainText;

/// As Kubernetes clients expect: 429 with Retry-After and a `Status` object in JSON.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct JsonStatus;

/// RFC 9457: 429 with Retry-After and `application/problem+json`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ProblemJson;

impl<F, T> Refuse for F
where
    F: Fn(&Refusal, &request::Parts) -> Response<T>,
    T: Into<Vec<u8>>,
{
    fn refuse(&self, refusal: &Refusal, request: &request::Parts) -> Response<Vec<u8>> {
        self(refusal, request).map(Into::into)
    }
}

impl Refuse for PlainText {
    fn refuse(&self, refusal: &Refusal, request: &request::Parts) -> Response<Vec<u8>> {
        if grpc::is_grpc(request) {
            return Grpc::default().refuse(refusal, request);
        }
        let mut response = reply(refusal, "text/plain; charset=utf-8", headers::REFUSED_BODY.into());
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl Refuse for JsonStatus {
    fn refuse(&self, refusal: &Refusal, _: &request::Parts) -> Response<Vec<u8>> {
        let code = status(refusal);
        let reason =
            if code == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "ServiceUnavailable" };
        let body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.to_string(),
            "reason": reason,
            "details": { "retryAfterSeconds": refusal.retry_after_s },
            "code": code.as_u16(),
        });
        reply(refusal, "application/json", body.to_string())
    }
}

impl Refuse for ProblemJson {
    fn refuse(&self, refusal: &Refusal, _: &request::Parts) -> Response<Vec<u8>> {
        let code = status(refusal);
        let body = json!({
            "type": "about:blank",
            "title": code.canonical_reason(),
            "status": code.as_u16(),
            "detail": refusal.to_string(),
            "reason": refusal.reason.as_str(),
            "retryAfterSeconds": refusal.retry_after_s,
        });
        reply(refusal, "application/problem+json", body.to_string())
    }
}

/// The status of a reply to a refused request.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal.reason {
        Reason::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn reply(refusal: &Refusal, content_type: &'static str, body: String) -> Response<Vec<u8>> {
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = status(refusal);
    let fields = response.headers_mut();
    fields.insert(RETRY_AFTER, HeaderValue::from(refusal.retry_after_s));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds the identities of schema and level.
pub(super) fn add_names<B>(response: &mut Response<B>, names: &crate::engine::Names) {
    for (name, value) in
        [(headers::PRIORITY_LEVEL_UID, &names.level_uid), (headers::FLOW_SCHEMA_UID, &names.schema_uid)]
    {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}
