//! Rows of the feature table, and the tests that carry their numbers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace;

/// Number, `Y` or `N`, feature and the Kubernetes test of it; tab-separated.
const ROWS: &str = include_str!("rows.txt");
/// What a test's name begins with, before the number of its row.
pub(super) const PREFIX: &str = "row_";

/// One row.
pub(super) struct Row {
    pub(super) number: u8,
    /// `Y` or `N`.
    pub(super) state: char,
    pub(super) feature: &'static str,
    /// Names of the tests, in order.
    pub(super) tests: BTreeSet<String>,
}

/// Every row, in order.
pub(super) fn rows() -> Result<Vec<Row>> {
    let tests = tests()?;
    let row = |line: &'static str| {
        let mut fields = line.splitn(3, '\t');
        let mut field = || fields.next().with_context(|| format!("a field is missing: {line}"));
        let (number, state, feature) = (field()?, field()?, field()?);
        let own = format!("{PREFIX}{number}_");
        Ok(Row {
            number: number.parse()?,
            state: state.chars().next().context("no state")?,
            feature,
            tests: tests.iter().filter(|test| test.starts_with(&own)).cloned().collect(),
        })
    };
    ROWS.lines().map(row).collect()
}

/// Names of the tests of rows, as the sources define them: functions, or entries of a macro's list.
fn tests() -> Result<BTreeSet<String>> {
    let files = workspace::output(Command::new("git").args(["ls-files", "--", "*.rs", ":!xtask"]))?;
    let mut found = BTreeSet::new();
    for file in files.lines() {
        let text = fs::read_to_string(workspace::root().join(file)).unwrap_or_default();
        found.extend(text.lines().filter_map(defined).map(str::to_owned));
    }
    Ok(found)
}

/// The test that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, end) = match line.strip_prefix("fn ") {
        Some(function) => (function, '('),
        None => (line, ':'),
    };
    let (name, _) = name.split_once(end)?;
    let number = name.strip_prefix(PREFIX)?.split('_').next()?;
    let is_word = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (number.len() == 2 && number.parse::<u8>().is_ok() && is_word).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(defined(line), expected, "{line}");
    }

    #[test]
    fn functions_and_entries_of_lists_are_tests() {
        check("fn row_26_a_claim() {", Some("row_26_a_claim"));
        check("    async fn row_01_x() {", Some("row_01_x"));
        check("    row_37_y: OWN [", Some("row_37_y"));
        check("// row_37_y: is not", None);
        check("row_3_y: no", None);
        check("let row_12_y = 3;", None);
        check("fn rows() {", None);
    }
}
