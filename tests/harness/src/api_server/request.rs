//! A request: its path, its query, and the token that came with it.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// What was asked.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// The last part of the path.
    pub(super) path: String,
    /// Path and query as they came.
    pub(super) target: String,
    /// The query's parameters.
    pub(super) query: BTreeMap<String, String>,
    /// The bearer token.
    pub(super) token: Option<String>,
}

impl Request {
    /// The next request of a connection; none at its end.
    pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut request = Self {
            path: path.rsplit('/').next().unwrap_or_default().to_owned(),
            query: query.split('&').filter_map(parameter).collect(),
            target: decoded(&target),
            token: None,
        };
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(Some(request)) };
            if name.eq_ignore_ascii_case("authorization") {
                request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
        }
    }

    /// A parameter; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn parameter(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    Some((decoded(name), decoded(value)))
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let octets = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let hex = octets.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (octets[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(octet)) => {
                out.push(octet);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (octet, _) => out.push(octet),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
