//! The recorded cases, as their files say them.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::places::Place;

/// The format that is understood.
const FORMAT: &str = "proxy-reachability/1";
/// Groups whose name is more than the first word of a case's id.
const GROUPS: &[&str] = &[
    "backend-port-closed",
    "client-to-clusterip",
    "endpoint-without-node-name",
    "external-ip",
    "external-ping",
    "host-network",
    "no-endpoints",
    "not-ready",
    "publish-not-ready",
    "ready-unset",
    "service-proxy-name",
    "source-ranges",
    "two-slices",
    "type-change",
    "udp-before-service",
    "udp-flow",
    "unallocated-service-ip",
    "vip-to-direct",
];

/// One case, with the objects that all cases of its file share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(rename = "title")]
    _title: String,
    #[serde(default, rename = "own_behaviour")]
    _own_behaviour: Option<String>,
    #[serde(default, rename = "modes_differ")]
    _modes_differ: Option<Value>,
    /// What is there before the first step.
    pub(crate) objects: Vec<Value>,
    pub(crate) steps: Vec<Step>,
}

/// A change, and what is seen after it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default)]
    pub(crate) apply: Vec<Value>,
    #[serde(default)]
    pub(crate) delete: Vec<Value>,
    /// Seconds.
    #[serde(default)]
    pub(crate) wait_s: f64,
    pub(crate) probes: Vec<Probe>,
}

/// Attempts of one kind from one place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    pub(crate) from: Place,
    /// An address for ICMP, otherwise an address and a port.
    pub(crate) to: String,
    pub(crate) proto: Protocol,
    pub(crate) count: Option<u32>,
    pub(crate) source_port: Option<u16>,
    #[serde(default)]
    pub(crate) source_pool: bool,
    /// Bytes.
    pub(crate) size: Option<usize>,
    /// Seconds between attempts.
    pub(crate) interval_s: Option<f64>,
    /// Seconds.
    pub(crate) timeout_s: Option<f64>,
    pub(crate) flow: Option<String>,
    #[serde(default)]
    pub(crate) during_apply: bool,
    /// Milliseconds.
    pub(crate) interval_ms: Option<u64>,
    pub(crate) pick: Option<String>,
    pub(crate) observed: Expected,
    /// A better result than the recorded one.
    pub(crate) wanted: Option<Expected>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Http,
}

/// A recorded result; what it does not say may be anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) outcome: Option<String>,
    pub(crate) backends: Option<BTreeSet<String>>,
    pub(crate) backend_ports: Option<BTreeSet<u16>>,
    pub(crate) sources_seen: Option<BTreeSet<String>>,
    pub(crate) distinct: Option<usize>,
    pub(crate) sequence: Option<Vec<String>>,
    #[serde(default, rename = "reject")]
    _reject: Value,
    #[serde(default, rename = "icmp_from")]
    _icmp_from: Value,
    #[serde(default, rename = "body")]
    _body: Value,
    #[serde(default, rename = "note")]
    _note: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(rename = "topology")]
    _topology: Value,
    base_objects: Vec<Value>,
    cases: Vec<Case>,
}

/// The cases of every `*.json` of a folder, files in order of their names; the error names the file.
pub(crate) fn read(folder: &Path) -> Result<Vec<Case>, String> {
    let list = |error| format!("cannot list the folder of cases {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(list)? {
        let path = entry.map_err(list)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        let file: Result<File, _> =
            text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        let mut file =
            file.map_err(|error| format!("cannot read the cases of {}: {error}", path.display()))?;
        if file.format != FORMAT {
            return Err(format!("{} has the format {}, not {FORMAT}", path.display(), file.format));
        }
        for case in &mut file.cases {
            case.objects.splice(0..0, file.base_objects.iter().cloned());
        }
        cases.append(&mut file.cases);
    }
    if cases.is_empty() { Err(format!("no cases in {}", folder.display())) } else { Ok(cases) }
}

impl Case {
    /// The group it is reported with: the leading word or words of its id.
    pub(crate) fn group(&self) -> &str {
        let known = GROUPS.iter().find(|group| self.id.starts_with(**group));
        known.copied().unwrap_or_else(|| self.id.split('-').next().unwrap_or(&self.id))
    }
}

impl Probe {
    /// In words, for messages.
    pub(crate) fn describe(&self) -> String {
        let Self { from, to, proto, flow, .. } = self;
        let proto = format!("{proto:?}").to_lowercase();
        let flow = flow.as_ref().map(|flow| format!(" flow {flow}")).unwrap_or_default();
        let during = if self.during_apply { " during the change" } else { "" };
        format!("{from} > {to}/{proto}{flow}{during}")
    }

    /// Whether an attempt with this outcome can be part of a match.
    pub(crate) fn allows(&self, outcome: &str) -> bool {
        let results = [Some(&self.observed), self.wanted.as_ref()];
        let mut outcomes = results.into_iter().flatten().map(|result| result.outcome.as_deref());
        outcomes.any(|expected| expected.is_none_or(|expected| expected == outcome))
    }

    /// Whether it is about IPv4.
    pub(crate) fn is_v4(&self) -> bool {
        !self.to.starts_with('[') && self.to.parse::<IpAddr>().map_or(true, |address| address.is_ipv4())
    }
}
