//! The feature table, with the tests that prove each row and what became of them in their last run.
//!
//! A test proves row 7 if its name begins with `row_07_`. `cargo xtask test` keeps what became of such
//! tests, whichever it ran, in [`results`].

mod results;
mod table;

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;

use crate::workspace;
pub(crate) use results::Results;
use table::Row;

/// Where the table is for readers.
const PAGE: &str = "docs/features.md";

/// `cargo xtask features`
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Also write the table, without results, to docs/features.md.
    #[arg(long)]
    write: bool,
    /// Fail unless every test of every row passed when it last ran.
    #[arg(long)]
    check: bool,
}

/// Prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let rows = table::rows()?;
    let results = Results::read();
    let (mut proven, mut open) = (0, Vec::new());
    for row in &rows {
        println!("{:>2}  {}  {}", row.number, row.state, row.feature);
        for test in &row.tests {
            println!("       {:9} {test}", results.of(test));
        }
        let passed = !row.tests.is_empty() && row.tests.iter().all(|test| results.passed(test));
        proven += usize::from(passed && row.state == 'Y');
        if !passed || row.state != 'Y' {
            open.push(row.number.to_string());
        }
    }
    println!("{proven} of {} rows are proven by tests that passed when they last ran", rows.len());
    if !open.is_empty() {
        println!("not proven: {}", open.join(", "));
    }
    if args.write {
        let path = workspace::root().join(PAGE);
        fs::write(&path, page(&rows)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(!args.check || open.is_empty(), "{} rows are not proven", open.len());
    Ok(())
}

/// The table for readers.
fn page(rows: &[Row]) -> String {
    let mut text = "# What Seaway does, and which test proves it\n\nRows of the feature table: Y is done, N is not. \
                    Written by `cargo xtask features --write`; without `--write` it prints what became of each \
                    test in its last run by `cargo xtask test`.\n\n| # | feature | | tests |\n|---|---|---|---|\n"
        .to_owned();
    for Row { number, state, feature, tests } in rows {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        text += &format!("| {number} | {feature} | {state} | {} |\n", tests.join("<br>"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_is_done_has_a_test_of_its_number() {
        let rows = table::rows().unwrap();
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=37).collect::<Vec<_>>());
        let unproven: Vec<u8> = rows
            .iter()
            .filter(|row| row.state == 'Y' && row.tests.is_empty())
            .map(|row| row.number)
            .collect();
        assert_eq!(unproven, [0; 0]);
    }

    #[test]
    fn the_page_has_the_tests_that_there_are() {
        let written = fs::read_to_string(workspace::root().join(PAGE)).unwrap_or_default();
        assert!(written == page(&table::rows().unwrap()), "run `cargo xtask features --write`");
    }
}
