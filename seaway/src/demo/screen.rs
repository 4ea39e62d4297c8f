//! What the demo shows: stages, a live table on a terminal, the final tables or a JSON document.

use std::{cell::RefCell, io::Write};

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{
    manifests::REMOVED,
    outcome::{Outcome, PathOutcome},
};
use crate::table;

const HEADER: [&str; 7] = ["VIP", "PATH", "ENDPOINT", "REQUESTS", "SHARE", "P50", "P99"];

/// Standard output, and the live table on standard error.
#[derive(Debug)]
pub(super) struct Screen {
    is_json: bool,
}

/// A table that is redrawn in place; nothing is drawn where standard error is not a terminal.
#[derive(Debug)]
pub(super) struct LiveTable {
    area: MultiProgress,
    lines: RefCell<Vec<ProgressBar>>,
}

impl Screen {
    /// With `is_json` there is nothing but the document at the end.
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Says what is going to happen.
    pub(super) fn introduce(&self) {
        self.say("Building a client, a node and three web servers on this machine, in network namespaces");
        self.say("of their own, and balancing HTTP requests over the servers with the real agent.");
        self.say("");
    }

    /// Says what has happened.
    pub(super) fn stage(&self, text: &str) {
        self.say(&format!("✓ {text}"));
    }

    /// Says what has happened to requests, and whether it was as promised.
    pub(super) fn verdict(&self, text: &str, outcomes: &[PathOutcome]) {
        let is_kept = outcomes.iter().all(|outcome| outcome.problems().is_empty());
        self.say(&format!("{} {text}", if is_kept { '✓' } else { '✗' }));
    }

    /// A place for the counts of the running loads.
    pub(super) fn live(&self) -> LiveTable {
        let area = MultiProgress::new();
        if self.is_json {
            area.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        LiveTable { area, lines: RefCell::default() }
    }

    /// Prints the result.
    pub(super) fn conclude(&self, outcome: &Outcome) -> anyhow::Result<()> {
        if self.is_json {
            let document =
                serde_json::to_string_pretty(outcome).context("cannot write the result as JSON")?;
            return writeln!(std::io::stdout(), "{document}").context("cannot print the result");
        }
        self.say(&format!("\n{}", table(&outcome.paths)));
        self.say(&format!("\nAfter {REMOVED} was taken away:\n{}", table(&outcome.after_removal)));
        self.say("\nWhere to go next: seaway status --help");
        Ok(())
    }

    fn say(&self, line: &str) {
        if !self.is_json {
            // A closed pipe is the reader's wish.
            writeln!(std::io::stdout(), "{line}").ok();
        }
    }
}

impl LiveTable {
    /// Draws the table anew.
    pub(super) fn show(&self, outcomes: impl Iterator<Item = PathOutcome>) {
        if self.area.is_hidden() {
            return;
        }
        let outcomes: Vec<_> = outcomes.collect();
        let mut lines = self.lines.borrow_mut();
        for (number, text) in table(&outcomes).lines().enumerate() {
            if number == lines.len() {
                let style = ProgressStyle::with_template("{msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                lines.push(self.area.add(ProgressBar::new_spinner().with_style(style)));
            }
            lines[number].set_message(text.to_owned());
        }
    }
}

impl Drop for LiveTable {
    fn drop(&mut self) {
        // What is left is told by the stage that follows; a screen that is gone needs no clearing.
        self.area.clear().ok();
    }
}

fn table(outcomes: &[PathOutcome]) -> String {
    let rows = outcomes.iter().flat_map(|outcome| {
        let answered: u64 = outcome.endpoints.values().sum();
        outcome.endpoints.iter().map(move |(endpoint, &requests)| {
            let latency = |us: fn(&seaway_lab::load::EndpointTally) -> u64| {
                outcome
                    .latencies
                    .get(endpoint)
                    .map_or_else(|| "-".to_owned(), |tally| milliseconds(us(tally)))
            };
            [
                outcome.vip.to_string(),
                outcome.path.to_owned(),
                endpoint.to_string(),
                requests.to_string(),
                percentage(requests, answered),
                latency(|tally| tally.p50_us),
                latency(|tally| tally.p99_us),
            ]
        })
    });
    table::render(HEADER, rows)
}

/// With one digit after the point.
fn percentage(part: u64, whole: u64) -> String {
    let permille = (part * 1000 + whole / 2).checked_div(whole).unwrap_or_default();
    format!("{}.{}%", permille / 10, permille % 10)
}

/// With two digits after the point.
fn milliseconds(us: u64) -> String {
    format!("{}.{:02}ms", us / 1000, us % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use seaway_lab::load::{EndpointTally, Tally};

    use super::*;
    use crate::demo::manifests::{ENDPOINTS, VIP};

    #[test]
    fn table_is_aligned_and_has_a_row_for_each_endpoint() {
        let tally = |requests, p50_us, p99_us| EndpointTally { requests, p50_us, p99_us };
        let endpoints = [(ENDPOINTS[0], tally(1000, 310, 1250)), (ENDPOINTS[2], tally(2000, 7, 60_000_000))];
        let endpoints = endpoints.into_iter().map(|(address, tally)| ((address, 80).into(), tally)).collect();
        let phases = [Tally { requests: 3000, endpoints, ..Tally::default() }];
        let outcome = PathOutcome::new("xdp", VIP, &phases, &ENDPOINTS);
        let expected = "\
            VIP               PATH   ENDPOINT        REQUESTS   SHARE   P50      P99\n\
            10.96.0.80:8080   xdp    10.1.1.111:80   1000       33.3%   0.31ms   1.25ms\n\
            10.96.0.80:8080   xdp    10.1.1.112:80   0          0.0%    -        -\n\
            10.96.0.80:8080   xdp    10.1.1.114:80   2000       66.7%   0.00ms   60000.00ms";
        assert_eq!(table(&[outcome]), expected);
    }
}
