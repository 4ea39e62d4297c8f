//! Certificates, and a client that shows one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An authority, and certificates with keys of a server and a node, all PEM.
pub(crate) fn certificates() -> (String, (String, String), (String, String)) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).unwrap().pem();
    let issuer = Issuer::new(params, own);
    let issue = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let server = issue(CertificateParams::new(["localhost".to_owned()]).unwrap());
    let mut node = CertificateParams::default();
    node.distinguished_name.push(DnType::CommonName, "system:node:n1");
    node.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    (authority, server, issue(node))
}

pub(crate) fn get_tls(address: SocketAddr, authority: &str, own: &(String, String)) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(own.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.1.as_bytes()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let request =
        "GET /api/v1/nodes/n1 HTTP/1.1\r\nHost: localhost\r\nX-Remote-User: eve\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    // Some servers close without saying goodbye; what came before counts.
    stream.read_to_end(&mut reply).ok();
    String::from_utf8(reply).unwrap()
}
