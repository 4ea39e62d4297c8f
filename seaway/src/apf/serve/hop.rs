//! What a proxy must not pass on, and what it must say instead (RFC 9110 7.6, RFC 9112 3.2).

use http::header::{
    CONNECTION, Entry, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Request, Version};

/// Fields that are about one connection even where `Connection` does not name them. `TE` may be passed
/// on by a proxy that knows trailers, which is not worth it here.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    // hyper frames the body anew.
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the fields that are about this connection, of a request or a response.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // These frame and address the message: no connection owns them.
        .filter(|name| *name != HOST && *name != http::header::CONTENT_LENGTH)
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The protocol that a client asks to go on with on this connection.
pub(super) fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let asks =
        version == Version::HTTP_11 && tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

/// Adds this proxy to the way that the message took.
pub(super) fn add_via(headers: &mut HeaderMap, version: Version) {
    let by = HeaderValue::from_static(if version == Version::HTTP_10 { "1.0 seaway" } else { "1.1 seaway" });
    match headers.entry(VIA) {
        Entry::Occupied(mut other) => other.append(by),
        Entry::Vacant(none) => {
            none.insert(by);
        }
    }
}

/// Makes `Host` say what the target says; returns false for a request that does not say one host.
pub(super) fn settle_host<B>(request: &mut Request<B>) -> bool {
    let count = request.headers().get_all(HOST).iter().count();
    if count > 1 || count == 0 && request.version() == Version::HTTP_11 {
        return false;
    }
    let authority = request.uri().authority().map(|authority| {
        let text = authority.as_str();
        text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned()
    });
    if let Some(host) = authority.and_then(|host| HeaderValue::try_from(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    true
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f15_what_is_about_one_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-hop, Close"),
            ("connection", "host, content-length, x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("host", "h"),
            ("content-length", "3"),
            ("x-end", "1"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-end"]);
    }

    #[test]
    fn f15_the_target_says_the_host() {
        let request = |uri: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let mut request = request.body(()).unwrap();
            let sound = settle_host(&mut request);
            (sound, request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()))
        };
        assert_eq!(request("/x", &["a"]), (true, Some("a".into())));
        assert_eq!(request("http://u@b:80/x", &["a"]), (true, Some("b:80".into())));
        assert!(!request("/x", &[]).0);
        assert!(!request("/x", &["a", "b"]).0);
    }
}
