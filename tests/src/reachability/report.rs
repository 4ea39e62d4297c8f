//! What is printed: a row per group, and a line per case that differs and per probe that did not match.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
};

use super::{
    expectations::{CLIENT_KEPT, different},
    lane::Replayed,
};

/// The results of all cases.
#[derive(Debug)]
pub struct Report<'c> {
    replayed: Vec<Replayed<'c>>,
}

#[derive(Debug, Default)]
struct Row {
    passed: u32,
    differs: u32,
    failed: u32,
}

impl<'c> Report<'c> {
    pub(crate) fn new(replayed: Vec<Replayed<'c>>) -> Self {
        Self { replayed }
    }

    /// Prints it, past the test runner's capture.
    pub fn print(&self) {
        // A reader that went away does not change the result.
        io::stdout().write_all(self.text().as_bytes()).ok();
    }

    /// A line per case that is neither as recorded nor better.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let failed = self.replayed.iter().filter(|replayed| !replayed.problems.is_empty());
        failed
            .map(|Replayed { case, problems, .. }| format!("{}: {}", case.id, problems.join(" | ")))
            .collect()
    }

    fn text(&self) -> String {
        let mut text = String::from("\n");
        for replayed in &self.replayed {
            describe(replayed, &mut text);
        }
        let kept = self.replayed.iter().filter(|replayed| replayed.keeps_client).count();
        if kept > 0 {
            // Writing to a string does not fail.
            writeln!(text, "differs: in {kept} cases endpoints of n1 see the client: {CLIENT_KEPT}").ok();
        }
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let mut total = Row::default();
        for replayed in &self.replayed {
            for row in [rows.entry(replayed.case.group()).or_default(), &mut total] {
                match (replayed.problems.is_empty(), replayed.differs) {
                    (true, false) => row.passed += 1,
                    (true, true) => row.differs += 1,
                    (false, _) => row.failed += 1,
                }
            }
        }
        // Writing to a string does not fail.
        writeln!(text, "\n{:<28} {:>7} {:>8} {:>7}", "GROUP", "PASSED", "DIFFERS", "FAILED").ok();
        for (group, row) in rows.into_iter().chain([("all", total)]) {
            writeln!(text, "{group:<28} {:>7} {:>8} {:>7}", row.passed, row.differs, row.failed).ok();
        }
        text
    }
}

fn describe(replayed: &Replayed<'_>, text: &mut String) {
    let Replayed { case, problems, differs, took, .. } = replayed;
    // Writing to a string does not fail.
    if *differs && let Some(different) = different(&case.id) {
        writeln!(text, "differs: {}: {}", case.id, different.reason).ok();
    }
    if problems.is_empty() {
        return;
    }
    writeln!(text, "failed: {} in {:.1} s", case.id, took.as_secs_f64()).ok();
    for problem in problems {
        writeln!(text, "    {problem}").ok();
    }
}
