//! What the attempts of one probe came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use seaway_lab::probe::Outcome;

use super::places;

/// How often each outcome was seen, by whom attempts were answered, and as whom they were seen.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    outcomes: BTreeMap<String, u32>,
    last: String,
    steps: Vec<(String, u32)>,
    pub(crate) backends: BTreeSet<String>,
    pub(crate) backend_ports: BTreeSet<u16>,
    pub(crate) sources_seen: BTreeSet<String>,
    /// The same, as if endpoints of n1 had seen n1 where they saw the client itself.
    pub(crate) sources_if_masqueraded: BTreeSet<String>,
}

impl Observation {
    /// Counts one attempt to `asked`; `pooled` is its own address if it is one of a pool.
    pub(crate) fn add(&mut self, outcome: &Outcome, asked: SocketAddr, pooled: Option<IpAddr>) {
        let word = match outcome {
            Outcome::Answered { remote, .. } if *remote != asked => {
                format!("ok but from {remote}")
            }
            Outcome::Answered { .. } => "ok".into(),
            Outcome::Refused => "refused".into(),
            Outcome::Timeout => "timeout".into(),
            Outcome::Unreachable => "unreachable".into(),
            Outcome::Reset => "reset".into(),
            Outcome::Failed(text) => text.clone(),
        };
        let step = outcome.name().map_or_else(|| word.clone(), str::to_owned);
        match self.steps.last_mut() {
            Some((last, count)) if *last == step => *count += 1,
            _ => self.steps.push((step, 1)),
        }
        self.last.clone_from(&word);
        *self.outcomes.entry(word).or_default() += 1;
        if let Outcome::Answered { answer, .. } = outcome {
            self.backends.insert(answer.name.clone());
            self.backend_ports.insert(answer.port);
            let (peer, is_local) = (answer.peer.ip(), places::is_on_n1(&answer.name));
            let seen = source(peer, pooled);
            let is_kept = is_local && !places::is_n1(peer);
            self.sources_if_masqueraded.insert(if is_kept { "n1".into() } else { seen.clone() });
            self.sources_seen.insert(seen);
        }
    }

    /// The outcome of all attempts, or how many had which.
    pub(crate) fn outcome(&self) -> String {
        match self.outcomes.first_key_value() {
            Some((word, _)) if self.outcomes.len() == 1 => word.clone(),
            _ => {
                let parts = self.outcomes.iter().map(|(word, count)| format!("{count} x {word}"));
                parts.collect::<Vec<_>>().join(" + ")
            }
        }
    }

    /// Outcomes, who answered, and as whom the attempts were seen, in one line.
    pub(crate) fn in_short(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        if self.backends.is_empty() {
            return self.outcome();
        }
        format!("{} by {} as {}", self.outcome(), list(&self.backends), list(&self.sources_seen))
    }

    /// The outcome of the last attempt.
    pub(crate) fn last_outcome(&self) -> &str {
        &self.last
    }

    /// Who answered, or what happened instead, repeats folded and single lost datagrams left out.
    pub(crate) fn sequence(&self) -> Vec<String> {
        let lost = |step: &&(String, u32)| step.0 == "timeout" && step.1 == 1;
        let mut names: Vec<String> =
            self.steps.iter().filter(|step| !lost(step)).map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }
}

/// `n1`, `pool`, or an address.
fn source(seen: IpAddr, pooled: Option<IpAddr>) -> String {
    if pooled == Some(seen) { "pool".into() } else { folded(seen) }
}

/// One name for all of n1's addresses.
pub(crate) fn folded(address: IpAddr) -> String {
    if places::is_n1(address) { "n1".into() } else { address.to_string() }
}
