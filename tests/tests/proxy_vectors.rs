//! Vectors taken from running kube-proxy, replayed through the conversion, the join, the policy and
//! the health servers.
//!
//! `SEAWAY_PROXY_CASES` names another folder; every `*.json` in it is run by its `format`. A field
//! or a format that is not known here is a failure: it would be a rule that is not tested.

#[path = "proxy_vectors/health.rs"]
mod health;
#[path = "proxy_vectors/policy.rs"]
mod policy;
#[path = "proxy_vectors/services.rs"]
mod services;
#[path = "proxy_vectors/slices.rs"]
mod slices;
#[path = "proxy_vectors/weakness.rs"]
mod weakness;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use seaway_cluster::{AddressFamily, ServiceName};
use seaway_tests::data;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file of cases, which are read one by one: one that cannot be is one that fails.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(default, rename = "note")]
    _note: String,
    cases: Vec<Value>,
}

/// What became of a case.
enum Verdict {
    Passed,
    /// It is better than the reference, for this reason.
    Differs(&'static str),
    Failed(String),
}

#[test]
fn every_case_passes() {
    let own = || data::path("dataplane");
    let folder = std::env::var_os("SEAWAY_PROXY_CASES").map_or_else(own, PathBuf::from);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let files: BTreeSet<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    assert!(!files.is_empty(), "{}: no *.json", folder.display());
    let failures: Vec<String> = files.iter().flat_map(|path| replay(path)).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Runs a file, prints how many of its cases passed, and returns what failed.
fn replay(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let file: File = match serde_json::from_str(&text) {
        Ok(file) => file,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let run: fn(Value) -> Verdict = match file.format.as_str() {
        "proxy-endpoint-policy/1" => |case| with(case, policy::check),
        "proxy-endpoints-from-slices/1" => |case| with(case, slices::check),
        "proxy-service-ports/1" => |case| with(case, services::check),
        "proxy-health/1" => |case| with(case, health::check),
        other => return vec![format!("{name}: the format {other:?} is unknown")],
    };
    let (mut failures, mut differing, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    let count = file.cases.len();
    for case in file.cases {
        let id = case.get("id").and_then(Value::as_str).unwrap_or("(no id)").to_owned();
        match run(case) {
            Verdict::Passed => {}
            Verdict::Differs(reason) => differing.push(format!("  {id} differs: {reason}")),
            Verdict::Failed(what) => failures.push(format!("{name}: {id}: {what}")),
        }
        if !ids.insert(id.clone()) {
            failures.push(format!("{name}: {id} appears twice"));
        }
    }
    if count == 0 {
        failures.push(format!("{name}: no case"));
    }
    let passed = count.saturating_sub(failures.len());
    // Past the test runner's capture. A reader that went away does not change the result.
    let mut out = io::stdout();
    let listed = differing.len();
    writeln!(out, "{name}: {passed} of {count} cases passed, {listed} of them as listed differences").ok();
    differing.iter().for_each(|line| _ = writeln!(out, "{line}"));
    failures
}

fn with<C: DeserializeOwned>(case: Value, check: fn(&C) -> Verdict) -> Verdict {
    match serde_json::from_value(case) {
        Ok(case) => check(&case),
        Err(error) => Verdict::Failed(format!("cannot be read: {error}")),
    }
}

impl Verdict {
    fn of<T: PartialEq + std::fmt::Debug>(expected: &T, found: &T) -> Self {
        if expected == found {
            return Self::Passed;
        }
        Self::Failed(format!("expected {expected:#?}, found {found:#?}"))
    }
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
