//! The requests of a simulation: generated clients, or a log.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::path::Path;

/// Where the requests come from.
#[derive(Debug)]
pub(super) struct Load {
    pub clients: Vec<Client>,
    pub log: Vec<Logged>,
    pub seed: u64,
    duration_ns: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generated {
    #[serde(default = "one")]
    seed: u64,
    duration_s: f64,
    clients: Vec<Client>,
}

/// A client that sends requests all the time: as many at once as `concurrency` says, or so many per
/// second whatever becomes of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub user: String,
    #[serde(default)]
    pub groups: Vec<String>,
    /// Method and URL.
    pub request: String,
    pub concurrency: Option<u32>,
    pub rate_per_s: Option<f64>,
    pub exec_ms: f64,
    /// Time between a reply and the next request of a client with `concurrency`.
    #[serde(default)]
    pub think_ms: f64,
    /// Seats to take instead of the estimate.
    pub seats: Option<u32>,
    #[serde(default)]
    pub start_s: f64,
    pub end_s: Option<f64>,
}

/// One request of a log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logged {
    pub t_ms: f64,
    pub user: String,
    #[serde(default)]
    pub groups: Vec<String>,
    #[serde(default = "get")]
    pub method: String,
    pub url: String,
    pub exec_ms: f64,
    pub seats: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audited {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: AuditUser,
    request_received_timestamp: String,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct AuditUser {
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

impl Load {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let load = if is_yaml { generated(&text) } else { logged(&text) };
        load.with_context(|| format!("{} is no load and no log", path.display()))
    }

    /// When the last request is sent.
    pub(super) const fn end_ns(&self) -> u64 {
        self.duration_ns
    }
}

fn generated(text: &str) -> anyhow::Result<Load> {
    let load: Generated = serde_saphyr::from_str(text)?;
    for client in &load.clients {
        if client.concurrency.is_some() == client.rate_per_s.is_some() {
            bail!("client {:?} needs one of concurrency and rate_per_s", client.user);
        }
        if client.rate_per_s.is_some_and(|rate| rate <= 0.0) || client.exec_ms <= 0.0 {
            bail!("client {:?} needs a positive rate_per_s and exec_ms", client.user);
        }
    }
    let duration_ns = ns(load.duration_s * 1e3);
    Ok(Load { clients: load.clients, log: Vec::new(), seed: load.seed, duration_ns })
}

fn logged(text: &str) -> anyhow::Result<Load> {
    let mut log = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry = if line.contains("\"requestReceivedTimestamp\"") {
            audited(line)
        } else {
            serde_json::from_str(line).map(Some).map_err(Into::into)
        };
        log.extend(entry.with_context(|| format!("line {}", index + 1))?);
    }
    log.sort_by(|a: &Logged, b| a.t_ms.total_cmp(&b.t_ms));
    let first = log.first().map_or(0.0, |first| first.t_ms);
    log.iter_mut().for_each(|entry| entry.t_ms -= first);
    let duration_ns = log.last().map_or(0, |last| ns(last.t_ms));
    Ok(Load { clients: Vec::new(), log, seed: 1, duration_ns })
}

/// A line of an audit log: its last stage tells how long the request took.
fn audited(line: &str) -> anyhow::Result<Option<Logged>> {
    let audited: Audited = serde_json::from_str(line)?;
    if audited.stage != "ResponseComplete" {
        return Ok(None);
    }
    let (start, end) = (unix_ms(&audited.request_received_timestamp)?, unix_ms(&audited.stage_timestamp)?);
    let method = match audited.verb.as_str() {
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        _ => "GET",
    };
    Ok(Some(Logged {
        t_ms: start,
        user: audited.user.username,
        groups: audited.user.groups,
        method: method.into(),
        url: audited.request_uri,
        exec_ms: (end - start).max(0.001),
        seats: None,
    }))
}

/// Milliseconds since 1970 of a UTC time such as `2026-01-02T03:04:05.678901Z`.
fn unix_ms(text: &str) -> anyhow::Result<f64> {
    let numbers: Vec<f64> = text
        .trim_end_matches('Z')
        .split(['-', 'T', ':'])
        .map(|part| part.parse().with_context(|| format!("{text:?} is not a UTC time")))
        .collect::<anyhow::Result<_>>()?;
    let [year, month, day, hour, minute, second] = numbers[..] else {
        bail!("{text:?} is not a UTC time");
    };
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (year, month) = if month <= 2.0 { (year - 1.0, month + 9.0) } else { (year, month - 3.0) };
    let leap_days = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    let days = 365.0 * year + leap_days + ((153.0 * month + 2.0) / 5.0).floor() + day - 1.0 - 719_468.0;
    Ok((days * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second) * 1e3)
}

/// Milliseconds as whole nanoseconds.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
pub(super) fn ns(ms: f64) -> u64 {
    (ms * 1e6).max(0.0) as u64
}

const fn one() -> u64 {
    1
}

fn get() -> String {
    "GET".into()
}
