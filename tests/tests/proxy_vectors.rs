//! Vectors taken from running kube-proxy, replayed through the conversion, the join and the policy.
//!
//! `SEAWAY_PROXY_CASES=DIR` replays every `*.json` of another folder, each by its `format`. A field or
//! format that is not known here is a failure: it would be a rule that is not tested.

#[path = "proxy_vectors/health.rs"]
mod health;
#[path = "proxy_vectors/policy.rs"]
mod policy;
#[path = "proxy_vectors/services.rs"]
mod services;
#[path = "proxy_vectors/slices.rs"]
mod slices;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use seaway_cluster::{AddressFamily, ServiceName};
use serde::Deserialize;
use serde_json::Value;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/dataplane");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(rename = "note")]
    _note: String,
    cases: Vec<Value>,
}

/// What came of a case.
struct Outcome {
    id: String,
    /// What is not as it should be.
    problem: Option<String>,
}

#[test]
fn cases_come_out_as_with_kube_proxy() {
    let folder = std::env::var_os("SEAWAY_PROXY_CASES").map_or_else(|| CASES.into(), PathBuf::from);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file's name").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    assert!(!paths.is_empty(), "{}: no case file", folder.display());
    let failures: Vec<String> = paths.iter().flat_map(|path| replay(path)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Replays a file and prints how many of its cases passed. Returns what did not.
fn replay(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!file.cases.is_empty(), "{name}: no case");
    let outcomes = match &*file.format {
        "proxy-endpoint-policy/1" => policy::replay(file.cases),
        "proxy-endpoints-from-slices/1" => slices::replay(file.cases),
        "proxy-service-ports/1" => services::replay(file.cases),
        "proxy-health/1" => health::replay(file.cases),
        other => panic!("{name}: the format {other} is not known"),
    };
    let unique: BTreeSet<&str> = outcomes.iter().map(|outcome| &*outcome.id).collect();
    assert_eq!(unique.len(), outcomes.len(), "{name}: an id appears twice");
    let failures = outcomes.iter().filter_map(|Outcome { id, problem }| {
        problem.as_ref().map(|problem| format!("{name}: {id}: {problem}"))
    });
    let failures: Vec<String> = failures.collect();
    let passed = outcomes.len() - failures.len();
    // Past the test runner's capture. A reader that went away does not change the result.
    writeln!(io::stdout(), "{name}: {passed} of {} cases passed", outcomes.len()).ok();
    failures
}

fn port_name(service: &ServiceName, port: &str) -> String {
    if port.is_empty() { service.to_string() } else { format!("{service}:{port}") }
}

fn family(name: &str) -> AddressFamily {
    match name {
        "IPv4" => AddressFamily::Ipv4,
        "IPv6" => AddressFamily::Ipv6,
        other => panic!("{other} is not a family"),
    }
}

/// The cases of one format.
fn parse<C: serde::de::DeserializeOwned>(cases: Vec<Value>) -> impl Iterator<Item = C> {
    cases
        .into_iter()
        .map(|case| serde_json::from_value(case.clone()).unwrap_or_else(|error| panic!("{error}: {case}")))
}
