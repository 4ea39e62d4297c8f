//! Every recorded case has the recorded answer, a better one that is wanted, or another on purpose.
//!
//! `SEAWAY_REACH_CASES=DIR` replays every `*.json` of another folder, `SEAWAY_REACH_GROUPS=a,b` only
//! these groups.

#![forbid(unsafe_code)]

use std::{env, path::PathBuf};

use seaway_harness::privileged;
use seaway_tests::{data, reachability::Cases};

/// How often a case has to match.
const RUNS: usize = 2;

#[test]
fn services_are_reached_as_with_kube_proxy() {
    privileged!();
    let folder = env::var_os("SEAWAY_REACH_CASES").map_or_else(|| data::path("reachability"), PathBuf::from);
    let mut cases = Cases::read(&folder);
    if let Ok(groups) = env::var("SEAWAY_REACH_GROUPS") {
        cases = cases.of_groups(&groups);
    }
    let report = cases.replay(RUNS);
    report.print();
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
