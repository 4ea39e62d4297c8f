//! What a server and its clients know each other by, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;

/// Token of somebody who may do everything.
pub(super) const ADMIN: &str = "admin-of-the-test";
/// Token of the agent, and who it is.
pub(super) const AGENT: &str = "agent-of-the-test";
pub(super) const USER: &str = "agent";

/// Files that the server reads.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Its certificate, which clients trust.
    pub(super) certificate: PathBuf,
    /// The certificate's key; the server signs tokens of service accounts with it as well.
    pub(super) key: PathBuf,
    pub(super) tokens: PathBuf,
    trusted: CertificateDer<'static>,
}

impl Credentials {
    pub(super) fn write(folder: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let parameters = CertificateParams::new(names).expect("names of a certificate");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let put = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
            file
        };
        let tokens = format!("{ADMIN},admin,1,\"system:masters\"\n{AGENT},{USER},2\n");
        Self {
            certificate: put("server.crt", &certificate.pem()),
            key: put("server.key", &key.serialize_pem()),
            tokens: put("tokens.csv", &tokens),
            trusted: certificate.der().clone(),
        }
    }

    /// The certificate that clients trust.
    pub(super) fn trusted(&self) -> CertificateDer<'static> {
        self.trusted.clone()
    }
}
