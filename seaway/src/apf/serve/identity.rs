//! Who sends a request, and what the server behind is told about it.

use super::tls::Peer;
use crate::apf::explain::attributes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use seaway_apf::Attributes;

/// Where it is said who asks.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    user: HeaderName,
    group: HeaderName,
    /// Certificates alone say it: headers could be set by anyone.
    certificates_only: bool,
}

impl Identity {
    pub(super) const fn new(user: HeaderName, group: HeaderName, certificates_only: bool) -> Self {
        Self { user, group, certificates_only }
    }

    pub(super) fn attributes<B>(&self, request: &Request<B>) -> Attributes {
        if self.certificates_only {
            let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
            return attributes(peer.user, peer.groups, request.into());
        }
        let user = request.headers().get(&self.user).map(text);
        let groups = request.headers().get_all(&self.group).iter().map(text).collect();
        attributes(user.unwrap_or_else(|| seaway_apf::request::ANONYMOUS.into()), groups, request.into())
    }

    /// Removes what a client says about itself and says instead what its certificate does.
    pub(super) fn assert<B>(&self, request: &mut Request<B>) {
        if !self.certificates_only {
            return;
        }
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let headers = request.headers_mut();
        let claimed: Vec<_> = headers.keys().filter(|name| self.is_claim(name)).cloned().collect();
        for name in claimed {
            headers.remove(name);
        }
        append(headers, &self.user, &peer.user);
        for group in &peer.groups {
            append(headers, &self.group, group);
        }
    }

    /// Whether a field says who asks: to servers that take `_` for `-`, too, and in the fields that
    /// kube-apiserver reads beside user and group.
    fn is_claim(&self, name: &HeaderName) -> bool {
        let name = name.as_str().replace('_', "-");
        name == self.user.as_str().replace('_', "-")
            || name == self.group.as_str().replace('_', "-")
            || name == "x-remote-uid"
            || name.starts_with("x-remote-extra-")
    }
}

/// A name in a header: UTF-8, or else Latin-1, in which every byte is a letter.
fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

/// Names that no header can carry were refused with the certificate.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: HeaderName = HeaderName::from_static("x-remote-user");
    const GROUP: HeaderName = HeaderName::from_static("x-remote-group");

    #[test]
    fn f18_users_with_other_letters_are_themselves() {
        let identity = Identity::new(USER, GROUP, false);
        for (bytes, name) in [(&b"J\xc3\xbcrgen"[..], "Jürgen"), (b"J\xfcrgen", "Jürgen"), (b"ann", "ann")]
        {
            let request =
                Request::builder().header(USER, HeaderValue::from_bytes(bytes).unwrap()).body(()).unwrap();
            assert_eq!(identity.attributes(&request).user, name);
        }
        let nobody = Request::new(());
        assert_eq!(identity.attributes(&nobody).groups, ["system:unauthenticated"]);
    }

    #[test]
    fn f12_clients_do_not_say_who_they_are_when_certificates_do() {
        let identity = Identity::new(USER, GROUP, true);
        let claims = |peer: Option<Peer>| {
            let mut request = Request::builder()
                .header("X-Remote-User", "root")
                .header("X-Remote-Group", "system:masters")
                .header("X_Remote_Group", "system:masters")
                .header("X-Remote-Extra-Scopes", "all")
                .header("X-Other", "stays")
                .body(())
                .unwrap();
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            identity.assert(&mut request);
            let mut claims: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            claims.sort_unstable();
            claims
        };
        let ann = Peer { user: "ann".into(), groups: vec!["devs".into(), "ops".into()] };
        assert_eq!(
            claims(Some(ann)),
            ["x-other: stays", "x-remote-group: devs", "x-remote-group: ops", "x-remote-user: ann"]
        );
        assert_eq!(claims(None), ["x-other: stays", "x-remote-user: system:anonymous"]);
    }
}
