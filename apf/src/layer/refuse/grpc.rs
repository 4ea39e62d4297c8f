//! The reply of gRPC: trailers only, with `RetryInfo` among the details.
//!
//! The two messages are a few bytes long and are written here: `google.rpc.Status` with one
//! `google.rpc.RetryInfo` wrapped in an `Any`.

use super::Refuse;
use crate::refusal::Refusal;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, request};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// What `grpc-message` escapes: all but printable ASCII, and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Trailers only: HTTP status 200, `grpc-status` and `grpc-message`, and `RetryInfo` in
/// `grpc-status-details-bin`, which clients with retries follow.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Grpc {
    code: GrpcCode,
}

/// The status code that refused calls end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrpcCode {
    /// 8: what clients know as "over quota"; most do not retry it.
    #[default]
    ResourceExhausted,
    /// 14: what clients retry.
    Unavailable,
}

impl Grpc {
    /// With another status code.
    #[must_use]
    pub const fn code(self, code: GrpcCode) -> Self {
        Self { code }
    }
}

impl GrpcCode {
    const fn number(self) -> u8 {
        match self {
            Self::ResourceExhausted => 8,
            Self::Unavailable => 14,
        }
    }
}

impl Refuse for Grpc {
    fn refuse(&self, refusal: &Refusal, request: &request::Parts) -> Response<Vec<u8>> {
        let code = self.code.number();
        let message = refusal.to_string();
        let escaped = utf8_percent_encode(&message, ESCAPED).to_string();
        let details = base64(&status(code, &message, refusal.retry_after_s));
        let mut response = Response::new(Vec::new());
        let fields = response.headers_mut();
        // The same flavour that the client speaks, such as application/grpc+proto.
        let flavour = request.headers.get(CONTENT_TYPE).filter(|_| is_grpc(request)).cloned();
        fields.insert(CONTENT_TYPE, flavour.unwrap_or(HeaderValue::from_static("application/grpc")));
        for (name, value) in [
            ("grpc-status", code.to_string()),
            ("grpc-message", escaped),
            ("grpc-status-details-bin", details),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(request: &request::Parts) -> bool {
    request.headers.get(CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// `google.rpc.Status { code = 1, message = 2, details = 3 }`.
fn status(code: u8, message: &str, retry_after_s: u64) -> Vec<u8> {
    // Duration { seconds = 1 } in RetryInfo { retry_delay = 1 } in Any { type_url = 1, value = 2 }.
    let mut delay = vec![0x08];
    varint(&mut delay, retry_after_s);
    let mut info = Vec::new();
    field(&mut info, 1, &delay);
    let mut any = Vec::new();
    field(&mut any, 1, RETRY_INFO.as_bytes());
    field(&mut any, 2, &info);
    let mut status = vec![0x08, code];
    field(&mut status, 2, message.as_bytes());
    field(&mut status, 3, &any);
    status
}

/// A field with a length before it.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

/// Without padding, as gRPC has its binary headers.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for letter in 0..=chunk.len() {
            let six = word >> (18 - 6 * letter) & 63;
            text.push(char::from(LETTERS[six as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_what_protobuf_and_base64_say() {
        assert_eq!([&b""[..], b"f", b"fo", b"foo", b"foob"].map(base64), ["", "Zg", "Zm8", "Zm9v", "Zm9vYg"]);
        let bytes = status(8, "x", 300);
        let url = RETRY_INFO.as_bytes();
        let mut expected = vec![0x08, 8, 0x12, 1, b'x', 0x1a, 51, 0x0a, 42];
        expected.truncate(7);
        expected.extend([0x0a, u8::try_from(url.len()).unwrap()]);
        expected.extend_from_slice(url);
        expected.extend([0x12, 5, 0x0a, 3, 0x08, 0xac, 0x02]);
        expected[6] = u8::try_from(expected.len() - 7).unwrap();
        assert_eq!(bytes, expected);
    }
}
