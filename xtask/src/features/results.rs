//! What became of the tests of rows when each last ran.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::table::PREFIX;
use crate::workspace;

/// Results by a test's name: `passed`, `failed` or `skipped`.
#[derive(Default)]
pub(crate) struct Results {
    by_test: BTreeMap<String, String>,
}

impl Results {
    /// Those that earlier runs left; none if there was none.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(file()).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Self { by_test: pairs.map(|(test, result)| (test.to_owned(), result.to_owned())).collect() }
    }

    /// Takes note of a line that the test runner printed.
    pub(crate) fn note(&mut self, line: &str) {
        let Some((path, end)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
            return;
        };
        let result = match end.split(' ').next() {
            Some("ok") => "passed",
            Some("FAILED") => "failed",
            Some("ignored") => "skipped",
            _ => return,
        };
        self.set(path, result);
    }

    /// Takes note of a test that could not run here, although it counts as passed.
    pub(crate) fn skipped(&mut self, path: &str) {
        self.set(path, "skipped");
    }

    /// What became of a test.
    pub(super) fn of(&self, test: &str) -> &str {
        self.by_test.get(test).map_or("not run", String::as_str)
    }

    /// Whether a test passed.
    pub(super) fn passed(&self, test: &str) -> bool {
        self.of(test) == "passed"
    }

    /// Leaves them for later.
    pub(crate) fn write(&self) -> Result<()> {
        let lines: String = self.by_test.iter().map(|(test, result)| format!("{test} {result}\n")).collect();
        let file = file();
        fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))
    }

    fn set(&mut self, path: &str, result: &str) {
        let test = path.rsplit("::").next().unwrap_or(path);
        if test.starts_with(PREFIX) {
            self.by_test.insert(test.to_owned(), result.to_owned());
        }
    }
}

fn file() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace::root().join("target")).join("rows.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runner_are_results_of_rows_alone() {
        let mut results = Results::default();
        for line in [
            "test row_01_a ... ok",
            "test inner::row_02_b ... FAILED",
            "test row_03_c has been running for over 60 seconds",
            "test other ... ok",
            "test row_04_d ... ok <1.2s>",
        ] {
            results.note(line);
        }
        results.skipped("rows::row_01_a");
        let found: Vec<&str> =
            ["row_01_a", "row_02_b", "row_03_c", "other", "row_04_d"].map(|test| results.of(test)).into();
        assert_eq!(found, ["skipped", "failed", "not run", "not run", "passed"]);
    }
}
