//! What is printed: a row per group, and a line per probe that did not match.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
};

use crate::{
    expectations::{different, required},
    lane::Replayed,
};

/// The results of all cases.
#[derive(Debug)]
pub(crate) struct Report<'c> {
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
    pub(crate) fn print(&self) {
        // A reader that went away does not change the result.
        io::stdout().write_all(self.text().as_bytes()).ok();
    }

    /// A line per case that has to pass and did not.
    pub(crate) fn broken_requirements(&self) -> Vec<String> {
        let failed = self.replayed.iter().filter(|replayed| failed(replayed));
        let broken = failed.filter_map(|replayed| {
            let Replayed { case, problems, .. } = replayed;
            let needs = required(case.group())?.needs;
            Some(format!("{} has to pass ({needs}): {}", case.id, problems.join(" | ")))
        });
        broken.collect()
    }

    fn text(&self) -> String {
        let mut text = String::from("\n");
        for replayed in &self.replayed {
            describe(replayed, &mut text);
        }
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let mut total = Row::default();
        for replayed in &self.replayed {
            for row in [rows.entry(replayed.case.group()).or_default(), &mut total] {
                match (replayed.problems.is_empty(), failed(replayed)) {
                    (true, _) => row.passed += 1,
                    (false, true) => row.failed += 1,
                    (false, false) => row.differs += 1,
                }
            }
        }
        // Writing to a string does not fail.
        writeln!(text, "\n{:<28} {:>7} {:>8} {:>7}", "GROUP", "PASSED", "DIFFERS", "FAILED").ok();
        for (group, row) in rows.into_iter().chain([("all", total)]) {
            let mark = required(group).map(|_| "  has to pass").unwrap_or_default();
            writeln!(text, "{group:<28} {:>7} {:>8} {:>7}{mark}", row.passed, row.differs, row.failed).ok();
        }
        text
    }
}

fn describe(replayed: &Replayed<'_>, text: &mut String) {
    let Replayed { case, problems, took } = replayed;
    if problems.is_empty() {
        return;
    }
    let reason = different(&case.id).map(|different| format!(" ({})", different.reason)).unwrap_or_default();
    let word = if failed(replayed) { "failed" } else { "differs" };
    // Writing to a string does not fail.
    writeln!(text, "{word}: {} in {:.1} s{reason}", case.id, took.as_secs_f64()).ok();
    for problem in problems {
        writeln!(text, "    {problem}").ok();
    }
}

/// Whether a case does not match and may not differ either.
fn failed(replayed: &Replayed<'_>) -> bool {
    !replayed.problems.is_empty() && different(&replayed.case.id).is_none()
}
