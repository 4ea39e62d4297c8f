//! Writing objects: one request a connection, over TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);
/// Who the server thinks writes the fields of an object.
const MANAGER: &str = "seaway-tests";

/// The kinds that are written: name, version, its part of the path, and whether it is in a namespace.
const KINDS: [(&str, &str, &str, bool); 8] = [
    ("Namespace", "v1", "namespaces", false),
    ("Node", "v1", "nodes", false),
    ("Pod", "v1", "pods", true),
    ("Service", "v1", "services", true),
    ("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", true),
    ("ServiceCIDR", "networking.k8s.io/v1", "servicecidrs", false),
    ("ClusterRole", "rbac.authorization.k8s.io/v1", "clusterroles", false),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "clusterrolebindings", false),
];

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: &'static str,
}

/// The version that objects of a kind are written in.
pub(super) fn api_version(kind: &str) -> &'static str {
    kind_of(kind).1
}

impl Client {
    pub(super) fn new(address: SocketAddr, trusted: CertificateDer<'static>, token: &'static str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).expect("a certificate of our own");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.expect("versions of TLS").with_root_certificates(roots).with_no_client_auth();
        Self { address, tls: Arc::new(tls), token }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the server says that it is ready, of which the grant of everything to admins is a part.
    pub(super) fn is_ready(&self) -> bool {
        self.ask("GET", "/readyz", "").is_ok_and(|(status, _)| status == 200)
    }

    /// Creates an object or makes it what the text says (server-side apply, which takes YAML).
    pub(super) fn apply(&self, kind: &str, namespace: Option<&str>, name: &str, text: &str) {
        let path = path(kind, namespace, name);
        let answer = self.ask("PATCH", &format!("{path}?fieldManager={MANAGER}&force=true"), text);
        let (status, said) = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(matches!(status, 200 | 201), "{path}: {status} {said}\n{text}");
    }

    pub(super) fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) {
        let path = path(kind, namespace, name);
        let (status, said) = self.ask("DELETE", &path, "").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(matches!(status, 200 | 202), "{path}: {status} {said}");
    }

    /// Status and body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::from(self.address.ip());
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/apply-patch+yaml\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            // Not every server says goodbye.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
    }
}

fn kind_of(kind: &str) -> (&'static str, &'static str, &'static str, bool) {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    *found.unwrap_or_else(|| panic!("the kind {kind:?} is not written"))
}

fn path(kind: &str, namespace: Option<&str>, name: &str) -> String {
    let (_, version, plural, within) = kind_of(kind);
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let space = within.then(|| format!("/namespaces/{}", namespace.unwrap_or("default")));
    format!("{root}/{version}{}/{plural}/{name}", space.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_where_the_api_has_them() {
        let check = |kind, namespace, name, expected| assert_eq!(path(kind, namespace, name), expected);
        check("Service", Some("n"), "a", "/api/v1/namespaces/n/services/a");
        check("Node", None, "node-1", "/api/v1/nodes/node-1");
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/a";
        check("EndpointSlice", None, "a", slices);
    }
}
