//! The rule of comparison.

use std::{collections::BTreeSet, fmt};

use super::{
    cases::{Expected, Probe},
    observation::{Observation, folded},
};

/// How an observation compares with the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same.
    Recorded,
    /// Better: the same as what is wanted instead.
    Wanted,
    /// Another outcome on purpose.
    Different,
    /// The same, but endpoints of n1 saw the client itself instead of n1.
    ClientKept,
    /// Neither; what is not as recorded, a line each.
    Neither(Vec<String>),
}

impl Verdict {
    /// Whether a second run came to the same. Which endpoint it was, on n1 or not, may be chance.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        let as_recorded = |verdict: &Self| matches!(verdict, Self::Recorded | Self::ClientKept);
        self == other || as_recorded(self) && as_recorded(other)
    }
}

/// Compares. `picked`: all backends seen in this run by the probes with this probe's `pick`;
/// `different`: another outcome that is right too.
pub(crate) fn compare(
    probe: &Probe,
    seen: &Observation,
    picked: &BTreeSet<String>,
    different: Option<&str>,
) -> Verdict {
    let compare = |expected, sources| mismatches(expected, probe, seen, sources, picked);
    let found = compare(&probe.observed, &seen.sources_seen);
    if found.is_empty() {
        return Verdict::Recorded;
    }
    let wanted = probe.wanted.as_ref();
    if wanted.is_some_and(|wanted| compare(wanted, &seen.sources_seen).is_empty()) {
        return Verdict::Wanted;
    }
    if compare(&probe.observed, &seen.sources_if_masqueraded).is_empty() {
        return Verdict::ClientKept;
    }
    if different.is_some_and(|outcome| seen.outcome() == outcome) {
        return Verdict::Different;
    }
    Verdict::Neither(found)
}

fn mismatches(
    expected: &Expected,
    probe: &Probe,
    seen: &Observation,
    sources_seen: &BTreeSet<String>,
    picked: &BTreeSet<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(expected) = &expected.outcome {
        let outcome = if probe.during_apply { seen.last_outcome().to_owned() } else { seen.outcome() };
        note(&mut found, "outcome", &outcome, expected, outcome == *expected);
    }
    if let Some(expected) = &expected.backends {
        let fits =
            if probe.pick.is_some() { seen.backends.is_subset(expected) } else { seen.backends == *expected };
        note(&mut found, "backends", &seen.backends, expected, fits);
    }
    if let Some(expected) = &expected.backend_ports {
        note(&mut found, "ports", &seen.backend_ports, expected, seen.backend_ports.is_subset(expected));
    }
    if let Some(expected) = &expected.sources_seen {
        let expected: BTreeSet<String> = expected.iter().map(|source| folded_text(source)).collect();
        note(&mut found, "sources", sources_seen, &expected, *sources_seen == expected);
    }
    if let Some(expected) = &expected.sequence {
        let sequence = seen.sequence();
        note(&mut found, "sequence", &sequence, expected, sequence == *expected);
    }
    if let Some(expected) = expected.distinct {
        note(&mut found, "distinct backends", picked, &expected, picked.len() == expected);
    }
    found
}

fn note(found: &mut Vec<String>, what: &str, seen: &dyn fmt::Debug, expected: &dyn fmt::Debug, fits: bool) {
    if !fits {
        found.push(format!("{what} {}, expected {}", short(seen), short(expected)));
    }
}

/// Long sets are cut.
fn short(value: &dyn fmt::Debug) -> String {
    const CHARS_MAX: usize = 120;
    let text = format!("{value:?}").replace('"', "");
    if text.len() <= CHARS_MAX { text } else { text.chars().take(CHARS_MAX).chain("…".chars()).collect() }
}

/// An address of n1 as `n1`; other words as they are.
fn folded_text(source: &str) -> String {
    source.parse().map_or_else(|_| source.to_owned(), folded)
}

#[cfg(test)]
mod tests {
    use seaway_lab::{echo::Answer, probe::Outcome};

    use super::*;

    const VIP: &str = "10.96.1.1:80";

    fn answer(name: &str, peer: &str) -> Outcome {
        let answer = Answer { name: name.into(), peer: peer.parse().unwrap(), port: 8080 };
        Outcome::Answered { answer, remote: VIP.parse().unwrap() }
    }

    fn check(extra: &str, attempts: &[Outcome], expected: &Verdict) {
        let text = format!(r#"{{"from": "pod-l2", "to": "{VIP}", "proto": "udp", {extra}}}"#);
        let probe: Probe = serde_json::from_str(&text).unwrap();
        let mut seen = Observation::default();
        for outcome in attempts {
            seen.add(outcome, VIP.parse().unwrap(), None);
        }
        assert_eq!(compare(&probe, &seen, &seen.backends, None), *expected, "{text} {attempts:?}");
    }

    fn neither(mismatch: &str) -> Verdict {
        Verdict::Neither(vec![mismatch.into()])
    }

    #[test]
    fn backends_are_a_set_and_a_pick_one_of_it() {
        let both = r#""observed": {"outcome": "ok", "backends": ["a", "b"]}"#;
        let [a, b] = ["a", "b"].map(|name| answer(name, "10.77.1.12:4000"));
        check(both, &[b.clone(), a.clone(), b.clone()], &Verdict::Recorded);
        check(both, std::slice::from_ref(&a), &neither("backends {a}, expected {a, b}"));
        let pick = r#""pick": "p", "observed": {"outcome": "ok", "backends": ["a", "b"], "distinct": 1}"#;
        check(pick, &[a.clone(), a.clone()], &Verdict::Recorded);
        check(pick, &[a, b], &neither("distinct backends {a, b}, expected 1"));
    }

    #[test]
    fn every_attempt_has_the_same_outcome_and_the_address_that_was_asked() {
        let ok = r#""observed": {"outcome": "ok"}"#;
        let good = answer("a", "10.77.1.12:4000");
        check(ok, &[good.clone(), Outcome::Timeout], &neither("outcome 1 x ok + 1 x timeout, expected ok"));
        let Outcome::Answered { answer, .. } = good else { unreachable!() };
        let remote = "10.77.1.11:8080".parse().unwrap();
        let other = Outcome::Answered { answer, remote };
        check(ok, &[other], &neither("outcome ok but from 10.77.1.11:8080, expected ok"));
    }

    #[test]
    fn addresses_of_n1_are_one_source() {
        let n1 = r#""observed": {"sources_seen": ["10.77.1.1", "172.18.0.1"]}"#;
        check(n1, &[answer("a", "192.0.2.1:4000")], &Verdict::Recorded);
        check(n1, &[answer("a", "192.0.2.10:4000")], &neither("sources {192.0.2.10}, expected {n1}"));
    }

    #[test]
    fn endpoints_of_n1_may_see_the_client_instead_of_n1() {
        let n1 = r#""observed": {"sources_seen": ["172.18.0.1"]}"#;
        let answers = [answer("pod-l1", "192.0.2.10:4000"), answer("pod-r1", "172.18.0.1:4000")];
        check(n1, &answers, &Verdict::ClientKept);
        let remote = answer("pod-r1", "192.0.2.10:4000");
        check(n1, &[remote], &neither("sources {192.0.2.10}, expected {n1}"));
        let client = r#""observed": {"sources_seen": ["192.0.2.10"]}"#;
        check(client, &[answer("pod-l1", "192.0.2.1:4000")], &neither("sources {n1}, expected {192.0.2.10}"));
    }

    #[test]
    fn sequence_is_folded_and_leaves_one_lost_datagram_out() {
        let moved = r#""during_apply": true, "observed": {"outcome": "ok", "sequence": ["a", "b"]}"#;
        let [a, b] = ["a", "b"].map(|name| answer(name, "10.77.1.12:4000"));
        let lost = Outcome::Timeout;
        check(moved, &[a.clone(), a.clone(), lost.clone(), b.clone()], &Verdict::Recorded);
        let gap = [a, lost.clone(), lost, b];
        check(moved, &gap, &neither("sequence [a, timeout, b], expected [a, b]"));
    }

    #[test]
    fn wanted_result_is_the_better_match() {
        let wanted = r#""observed": {"outcome": "timeout"}, "wanted": {"outcome": "refused"}"#;
        check(wanted, &[Outcome::Timeout], &Verdict::Recorded);
        check(wanted, &[Outcome::Refused], &Verdict::Wanted);
        check(wanted, &[Outcome::Reset], &neither("outcome reset, expected timeout"));
    }
}
