//! Vectors taken from running kube-proxy, replayed through the conversion, the join and the policy.
//!
//! `SEAWAY_PROXY_CASES` names another folder to read them from. A field or format that is not
//! known here is a failure: it would be a rule that is not tested.

#[path = "proxy_vectors/policy.rs"]
mod policy;
#[path = "proxy_vectors/services.rs"]
mod services;
#[path = "proxy_vectors/slices.rs"]
mod slices;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use seaway_cluster::{AddressFamily, ServiceName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<C> {
    format: String,
    #[serde(rename = "note")]
    _note: String,
    cases: Vec<C>,
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

fn read<C: DeserializeOwned>(name: &str, format: &str) -> Vec<C> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/dataplane");
    let folder = std::env::var_os("SEAWAY_PROXY_CASES").map_or_else(|| PathBuf::from(own), PathBuf::from);
    let path = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File<C> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(file.format, format, "{name}: another format");
    assert!(!file.cases.is_empty(), "{name}: no case");
    file.cases
}

fn finish<'a>(name: &str, ids: impl Iterator<Item = &'a str>, failures: &[String]) {
    let ids: Vec<&str> = ids.collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "{name}: an id appears twice");
    println!("{name}: {} of {} cases passed", ids.len() - failures.len(), ids.len());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
