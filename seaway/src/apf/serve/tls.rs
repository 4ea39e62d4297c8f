//! TLS, and who the client is by its certificate.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// Files for TLS.
#[derive(clap::Args)]
pub(super) struct Files {
    /// Certificates of the proxy (PEM); clients then must speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the proxy (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities for client certificates (PEM): common name is the user, organizations are the groups.
    /// User and group headers of clients are removed; the server behind gets those of the certificate.
    /// Clients without a certificate are anonymous.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
}

/// Who a client is by its certificate.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub user: String,
    pub groups: Vec<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { user: "system:anonymous".into(), groups: Vec::new() }
    }
}

impl Files {
    pub(super) const fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    pub(super) fn acceptor(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let config = match &self.client_ca {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities)? {
                    roots
                        .add(authority)
                        .with_context(|| format!("{} is no authority", authorities.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let private = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("{} holds no private key", key.display()))?;
        let config = config
            .with_single_cert(certificates(certificate)?, private)
            .with_context(|| format!("{} and {} do not fit", certificate.display(), key.display()))?;
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Who the client is, if it showed a certificate; the handshake has checked that.
pub(super) fn peer(stream: &TlsStream<TcpStream>) -> Option<Peer> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject: &X509Name<'_> = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned);
    let peer = Peer { user, groups: groups.collect() };
    // A name that no header can carry would reach the server behind as somebody else's.
    let fits = |name: &String| http::HeaderValue::from_bytes(name.as_bytes()).is_ok();
    (fits(&peer.user) && peer.groups.iter().all(fits)).then_some(peer)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} holds no certificates", path.display()))
}
