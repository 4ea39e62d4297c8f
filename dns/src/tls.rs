//! Certificates and keys, as files hold them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// How clients of an encrypted listener prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not at all.
    #[default]
    None,
    /// By a certificate, if they have one.
    IfGiven,
    /// By a certificate.
    Required,
}

/// Why files are of no use for TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is not in PEM.
    #[error("{} cannot be read: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The machine trusts nobody.
    #[error("this machine has no certificates of authorities; name a file of them")]
    NoRoots,
    /// Certificate and key do not belong together, or are no good.
    #[error("the certificate or its key is no good: {0}")]
    Tls(#[from] rustls::Error),
    /// Nobody could be let in with these authorities.
    #[error("clients cannot be checked: {0}")]
    Clients(#[from] rustls::server::VerifierBuilderError),
}

/// What a listener needs: its certificate and key, and whom its clients' certificates are from.
pub fn server(
    (certificate, key): (&Path, &Path),
    authorities: Option<&Path>,
    clients: ClientAuth,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match authorities.filter(|_| clients != ClientAuth::None) {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file)?), provider());
            let verifier =
                if clients == ClientAuth::IfGiven { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    Ok(builder.with_single_cert(certificates(certificate)?, private_key(key)?)?)
}

/// What is needed to ask over TLS: an own certificate with its key, where upstreams want one, and whom
/// theirs are from; without a file of those, whom this machine trusts.
pub fn client(own: Option<(&Path, &Path)>, authorities: Option<&Path>) -> Result<ClientConfig, Error> {
    let roots = match authorities {
        Some(file) => roots(file)?,
        None => native_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?
        }
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(file: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate)?;
    }
    Ok(store)
}

fn native_roots() -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(Error::NoRoots) } else { Ok(store) }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::File { file: file.to_owned(), source };
    let all: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() { Err(Error::Empty(file.to_owned())) } else { Ok(all) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(file).map_err(|source| Error::File { file: file.to_owned(), source })
}
