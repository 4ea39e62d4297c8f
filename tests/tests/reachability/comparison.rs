//! The rule of comparison.

use std::{collections::BTreeSet, fmt};

use crate::{
    cases::{Expected, Probe},
    observation::{Observation, folded},
};

/// What a probe's observation is compared with the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same.
    Recorded,
    /// Better: the same as what is wanted instead.
    Wanted,
    /// Neither; what is not as recorded, a line each.
    Neither(Vec<String>),
}

/// Compares. `picked`: all backends seen in this run by the probes with this probe's `pick`.
pub(crate) fn compare(probe: &Probe, seen: &Observation, picked: &BTreeSet<String>) -> Verdict {
    let mismatches = mismatches(&probe.observed, probe, seen, picked);
    if mismatches.is_empty() {
        return Verdict::Recorded;
    }
    let wanted = probe.wanted.as_ref();
    if wanted.is_some_and(|wanted| self::mismatches(wanted, probe, seen, picked).is_empty()) {
        return Verdict::Wanted;
    }
    Verdict::Neither(mismatches)
}

fn mismatches(
    expected: &Expected,
    probe: &Probe,
    seen: &Observation,
    picked: &BTreeSet<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(expected) = &expected.outcome {
        let outcome = if probe.during_apply { seen.last_outcome() } else { seen.outcome() };
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
        note(&mut found, "sources", &seen.sources_seen, &expected, seen.sources_seen == expected);
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
