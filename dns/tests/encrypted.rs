//! Listeners and upstreams over TLS, HTTPS and QUIC, with clients of their own libraries.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use seaway_cluster::Snapshot;
use seaway_dns::corefile;
use seaway_dns::engine::Engine;
use seaway_dns::feed::Feed;
use seaway_dns::name;
use seaway_dns::server::{Listener, Server, ServerOptions, Service};
use seaway_dns::tls;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const SERVICE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n---\napiVersion: v1\n\
                       kind: Service\nmetadata: {name: web, namespace: default}\nspec: {clusterIP: 10.0.0.7}\n";
const WEB: &str = "web.default.svc.cluster.local.";
/// The name that the server's certificate has.
const NAME: &str = "dns.example";

/// Files of an authority, and of a certificate and a key from it.
fn certificates() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (file, text) in [("ca", authority.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())] {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    dir
}

fn client(files: &Path, protocol: Option<&[u8]>) -> ClientConfig {
    let mut config = tls::client(None, Some(&files.join("ca"))).unwrap();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    config
}

/// A server for one block; it answers for the cluster.
fn serve(head: &str, files: &Path) -> (Server, SocketAddr) {
    let text = format!("{head} {{\nbind 127.0.0.1\nkubernetes cluster.local\ntls cert key\n}}\n");
    let engine = Engine::new(corefile::parse(&text, files).unwrap());
    let (snapshot, _) = Snapshot::from_manifests(SERVICE);
    Feed::new(&engine).update(&engine, &Arc::new(snapshot), 1);
    let place = engine.chains()[0].block.place();
    let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), place };
    let server = Server::start(&Service::new(engine), &[listener], ServerOptions { threads: 1 }).unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn query(text: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&name::parse(text).unwrap());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[track_caller]
fn check(answer: &[u8]) {
    assert_eq!((answer[3] & 15, &answer[answer.len() - 4..]), (0, &[10, 0, 0, 7][..]));
}

async fn connect(
    address: SocketAddr,
    config: ClientConfig,
    name: &'static str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered_over_tls() {
    let files = certificates();
    let (_server, address) = serve("tls://.", files.path());
    let mut stream = connect(address, client(files.path(), Some(b"dot")), NAME).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"dot"[..]));
    for _ in 0..2 {
        stream.write_all(&framed(&query(WEB))).await.unwrap();
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        check(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered_over_https() {
    let files = certificates();
    let (_server, address) = serve("https://.", files.path());
    let stream = connect(address, client(files.path(), Some(b"h2")), NAME).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let get = format!("https://{NAME}/dns-query?dns={}", BASE64URL_NOPAD.encode(&query(WEB)));
    let requests = [
        (Method::GET, get.as_str(), Vec::new(), 200),
        (Method::POST, "https://dns.example/dns-query", query(WEB), 200),
        (Method::GET, "https://dns.example/dns-query?dns=%", Vec::new(), 400),
        (Method::GET, "https://dns.example/other", Vec::new(), 404),
        (Method::PUT, "https://dns.example/dns-query", Vec::new(), 405),
    ];
    for (method, uri, body, status) in requests {
        let request =
            Request::builder().method(method).uri(uri).header(CONTENT_TYPE, "application/dns-message");
        let response =
            sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{uri}");
        if status == 200 {
            assert_eq!(response.headers()[CONTENT_TYPE], "application/dns-message");
            assert_eq!(response.headers()["cache-control"], "max-age=5");
            check(&response.into_body().collect().await.unwrap().to_bytes());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered_over_quic() {
    let files = certificates();
    let (_server, address) = serve("quic://.", files.path());
    let crypto =
        quinn::crypto::rustls::QuicClientConfig::try_from(client(files.path(), Some(b"doq"))).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connection = endpoint.connect_with(config, address, NAME).unwrap().await.unwrap();
    for _ in 0..2 {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(&query(WEB))).await.unwrap();
        send.finish().unwrap();
        let answer = receive.read_to_end(65_537).await.unwrap();
        assert_eq!(usize::from(u16::from_be_bytes([answer[0], answer[1]])), answer.len() - 2);
        check(&answer[2..]);
    }
    let mut numbered = query(WEB);
    numbered[0] = 1;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&framed(&numbered)).await.unwrap();
    send.finish().unwrap();
    let closed = connection.closed().await;
    assert!(
        matches!(&closed, quinn::ConnectionError::ApplicationClosed(reason) if reason.error_code == 2_u32.into()),
        "{closed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_upstreams_prove_their_names() {
    let files = certificates();
    let code = async |plugins: &str| {
        let blocks = corefile::parse(&format!(".:53 {{\n{plugins}\n}}\n"), files.path()).unwrap();
        let service = Service::new(Engine::new(blocks));
        service.answer(&query(WEB), 53, "127.0.0.1:1".parse().unwrap()).await.unwrap().0[3] & 15
    };
    for scheme in ["tls", "https", "quic"] {
        let (_server, address) = serve(&format!("{scheme}://."), files.path());
        let named =
            |name: &str| format!("forward . {scheme}://{address} {{\ntls ca\ntls_servername {name}\n}}");
        assert_eq!(code(&named(NAME)).await, 0, "{scheme}");
        assert_eq!(
            code(&named("other.example")).await,
            2,
            "{scheme}: a certificate for another name is no good"
        );
        assert_eq!(
            code(&format!("forward . {scheme}://{address}%{NAME} {{\ntls ca\n}}")).await,
            0,
            "{scheme}"
        );
    }
    let (_server, address) = serve("https://.", files.path());
    let at = |path: &str| format!("forward . https://{address}{path}%{NAME} {{\ntls ca\n}}");
    assert_eq!(code(&at("/dns-query")).await, 0);
    assert_eq!(code(&at("/other")).await, 2, "there is nothing at that path");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_encrypted_upstreams_carry_several_queries() {
    let files = certificates();
    for scheme in ["tls", "https", "quic"] {
        let (_server, address) = serve(&format!("{scheme}://."), files.path());
        let text = format!(".:53 {{\nforward . {scheme}://{address}%{NAME} {{\ntls ca\n}}\n}}\n");
        let service = Service::new(Engine::new(corefile::parse(&text, files.path()).unwrap()));
        for _ in 0..3 {
            let (answer, _) = service.answer(&query(WEB), 53, "127.0.0.1:1".parse().unwrap()).await.unwrap();
            check(&answer);
        }
        let metrics = service.metrics_text().unwrap();
        for (name, count) in [("hits", 2), ("misses", 1)] {
            let line = format!(
                "coredns_proxy_conn_cache_{name}_total{{proxy_name=\"forward\",to=\"{address}\",proto=\"tcp-tls\"}} {count}"
            );
            assert!(metrics.lines().any(|found| found == line), "{scheme}: {line} in\n{metrics}");
        }
    }
}

#[test]
fn blocks_over_tls_need_a_certificate() {
    let files = certificates();
    let check = |text: &str, expected: &str| {
        let error = corefile::parse(text, files.path()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check("tls://. {\n errors\n}\n", "line 1: tls:// needs the plugin tls with a certificate and its key");
    check("tls://. {\n tls ca key\n}\n", "line 2: tls: the certificate or its key is no good:");
    check("tls://. {\n tls none key\n}\n", "line 2: tls: ");
    check(
        "gopher://. {\n errors\n}\n",
        "line 1: \"gopher://.\": there are dns://, tls://, https:// and quic://",
    );
    check(
        "tls://. {\n tls cert key {\n client_auth require_and_verify\n}\n}\n",
        "line 2: tls: client_auth needs",
    );
}
