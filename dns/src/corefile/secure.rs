//! The `tls` plugin's options.

use std::path::Path;

use rustls::ServerConfig;

use super::Error;
use super::lexer::Line;
use crate::block::Scheme;
use crate::tls::{self, ClientAuth};

/// Reads `tls CERTIFICATE KEY [AUTHORITIES] { client_auth ... }`; files are relative to `dir`.
pub(super) fn parse(line: &Line, scheme: Scheme, dir: &Path) -> Result<ServerConfig, Error> {
    let (certificate, key, authorities) = match line.arguments() {
        [certificate, key] => (certificate, key, None),
        [certificate, key, authorities] => (certificate, key, Some(dir.join(authorities))),
        _ => return Err(line.error("it takes a certificate, its key, and authorities of clients if any")),
    };
    let mut clients = ClientAuth::default();
    for option in &line.body {
        option.bare()?;
        match (option.word(), option.arguments()) {
            ("client_auth", [word]) => clients = client_auth(option, word)?,
            _ => return Err(option.unknown("client_auth nocert|verify_if_given|require_and_verify")),
        }
    }
    if clients != ClientAuth::None && authorities.is_none() {
        return Err(line.error("client_auth needs authorities of clients after the key"));
    }
    let files = (dir.join(certificate), dir.join(key));
    let config = tls::server((&files.0, &files.1), authorities.as_deref(), clients);
    let mut config = config.map_err(|error| line.error(error.to_string()))?;
    config.alpn_protocols = scheme.protocols();
    Ok(config)
}

fn client_auth(line: &Line, word: &str) -> Result<ClientAuth, Error> {
    match word {
        "nocert" => Ok(ClientAuth::None),
        "verify_if_given" => Ok(ClientAuth::IfGiven),
        "require_and_verify" => Ok(ClientAuth::Required),
        "request" | "require" => {
            let problem = format!(
                "{word:?} would take certificates from anybody; here they are verified or not asked for"
            );
            Err(line.error(problem))
        }
        other => {
            let problem = format!("{other:?} is none of nocert, verify_if_given and require_and_verify");
            Err(line.error(problem))
        }
    }
}
