//! Recorded behaviour of kube-proxy, replayed against the agent with real sockets.
//!
//! ```text
//! files ── cases ──┬─ lane: site, agent ── observations ─┐
//!                  └─ lane: site, agent ── observations ─┴─ comparison ── report
//! ```
//! The format, the topology and the rule of comparison are in `data/reachability/README.md`. Every
//! lane has a topology of its own, built once, and starts a fresh agent for each run of a case, so
//! that no case sees another's objects or flows. A case that matches is run again, as often as it is
//! said to, and has to match in the same way.

mod cases;
mod comparison;
mod differential;
mod expectations;
mod facts;
mod lane;
mod network;
mod nft_rules;
mod observation;
mod places;
mod probers;
mod replay;
mod report;
mod site;

use std::path::Path;

use cases::Case;
pub use differential::{Comparison, compare};
pub use report::Report;

/// Cases to replay.
#[derive(Debug)]
pub struct Cases(Vec<Case>);

impl Cases {
    /// Those of every `*.json` of a folder.
    ///
    /// # Panics
    /// When a file is not as it should be; the message names it.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        Self(cases::read(folder).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Only those of these groups, separated by commas.
    ///
    /// # Panics
    /// When one of them has no case.
    #[must_use]
    pub fn of_groups(self, groups: &str) -> Self {
        let wanted: Vec<&str> = groups.split(',').map(str::trim).collect();
        self.select(&wanted, |case| case.group())
    }

    /// Only those with these ids.
    ///
    /// # Panics
    /// When one of them is not there.
    #[must_use]
    pub fn with_ids(self, ids: &[&str]) -> Self {
        self.select(ids, |case| &case.id)
    }

    /// Replays them, each `runs` times.
    pub fn replay(&self, runs: usize) -> Report<'_> {
        Report::new(lane::replay_all(&self.0, runs))
    }

    fn select(mut self, wanted: &[&str], name: impl Fn(&Case) -> &str) -> Self {
        for wanted in wanted {
            assert!(self.0.iter().any(|case| name(case) == *wanted), "no case is or belongs to {wanted}");
        }
        self.0.retain(|case| wanted.contains(&name(case)));
        self
    }
}
