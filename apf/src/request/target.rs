//! The request target of HTTP, in every form that clients send (RFC 9112 3.2).
//!
//! The path is percent-decoded before anybody looks at it, as kube-apiserver does: a client must not
//! end up in another flow, or past a rule, by spelling a path differently.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Path, decoded, and query, still encoded.
pub(super) fn split<'a>(method: &str, target: &'a str) -> (Cow<'a, str>, &'a str) {
    let origin = origin_form(method, target);
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    (percent_decode_str(path).decode_utf8_lossy(), query)
}

/// Leaves out what stands before the path: `http://host/path`, as HTTP/2 and clients of proxies send it,
/// and `host:port` of CONNECT.
fn origin_form<'a>(method: &str, target: &'a str) -> &'a str {
    if target.starts_with('/') {
        return target;
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return if method == "CONNECT" { "" } else { target };
    };
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    if is_scheme { &rest[rest.find(['/', '?']).unwrap_or(rest.len())..] } else { target }
}
