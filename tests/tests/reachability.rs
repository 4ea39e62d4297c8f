//! Recorded behaviour of kube-proxy, replayed against the agent with real sockets.
//!
//! ```text
//! files ── cases ──┬─ lane: site, agent ── observations ─┐
//!                  └─ lane: site, agent ── observations ─┴─ comparison ── report
//! ```
//! The format, the topology and the rule of comparison are in `data/reachability/README.md`. Every
//! lane has a topology of its own, built once, and starts a fresh agent for each run of a case, so
//! that no case sees another's objects or flows. A case that matches is run a second time and has
//! to match in the same way.
//!
//! `SEAWAY_REACH_CASES=DIR` replays every `*.json` of another folder, `SEAWAY_REACH_GROUPS=a,b`
//! only these groups. All have to pass, or to differ as [`expectations`] says.

#![forbid(unsafe_code)]

#[path = "reachability/cases.rs"]
mod cases;
#[path = "reachability/comparison.rs"]
mod comparison;
#[path = "reachability/expectations.rs"]
mod expectations;
#[path = "reachability/facts.rs"]
mod facts;
#[path = "reachability/lane.rs"]
mod lane;
#[path = "reachability/network.rs"]
mod network;
#[path = "reachability/observation.rs"]
mod observation;
#[path = "reachability/places.rs"]
mod places;
#[path = "reachability/probers.rs"]
mod probers;
#[path = "reachability/replay.rs"]
mod replay;
#[path = "reachability/report.rs"]
mod report;
#[path = "reachability/site.rs"]
mod site;

use std::{env, path::PathBuf};

use seaway_harness::privileged;

use crate::{cases::Case, report::Report};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/reachability");

#[test]
fn services_are_reached_as_with_kube_proxy() {
    privileged!();
    let folder = env::var_os("SEAWAY_REACH_CASES").map_or_else(|| CASES.into(), PathBuf::from);
    let mut cases = cases::read(&folder).unwrap_or_else(|error| panic!("{error}"));
    if let Ok(groups) = env::var("SEAWAY_REACH_GROUPS") {
        select(&mut cases, &groups);
    }
    let report = Report::new(lane::replay_all(&cases));
    report.print();
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Keeps the named groups.
fn select(cases: &mut Vec<Case>, groups: &str) {
    let wanted: Vec<&str> = groups.split(',').map(str::trim).collect();
    for name in &wanted {
        let found = cases.iter().any(|case| case.group() == *name);
        assert!(found, "SEAWAY_REACH_GROUPS: no case belongs to a group {name}");
    }
    cases.retain(|case| wanted.contains(&case.group()));
}
