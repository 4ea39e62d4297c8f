//! The serial console, read: what came of each program, as a table of tests and kernels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::guest::{BEGIN, Cell, END};

/// What the test of the programs' size says of each: name and instructions that the verifier looked at.
const VERIFIED: &str = "verified ";
/// `timeout` says so when it had to end a program.
const KILLED: i32 = 137;

/// What came of one program in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended as it had to, after this many seconds.
    Passed(u64),
    /// A test in it did not run, and this is why.
    Skipped(String),
    /// It ended in another way, and this is what it said.
    Failed(String),
}

/// A kernel's column of the table.
pub(super) struct Column {
    kernel: String,
    cells: Vec<(&'static str, Outcome)>,
    verified: BTreeMap<String, String>,
}

impl Outcome {
    /// Whether it is as it has to be.
    pub(super) fn passed(&self) -> bool {
        matches!(self, Self::Passed(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(seconds) => write!(f, "passed ({seconds} s)"),
            Self::Skipped(_) => write!(f, "skipped"),
            Self::Failed(_) => write!(f, "failed"),
        }
    }
}

impl Column {
    /// The column of a kernel that did not run.
    pub(super) fn absent(kernel: &str, reason: &str) -> Self {
        let outcome = Outcome::Failed(reason.to_owned());
        Self { kernel: kernel.to_owned(), cells: vec![("boot", outcome)], verified: BTreeMap::new() }
    }

    /// Reads what a guest with these cells wrote to its console.
    pub(super) fn read(kernel: &str, cells: &[Cell], console: &str) -> Self {
        let lines: Vec<&str> = console.lines().map(str::trim_end).collect();
        let verified = lines.iter().filter_map(|line| text(line).strip_prefix(VERIFIED)?.split_once(' '));
        let verified = verified.map(|(name, count)| (name.to_owned(), count.to_owned())).collect();
        let booted = if lines.iter().any(|line| line.starts_with(BEGIN)) {
            Outcome::Passed(0)
        } else {
            Outcome::Failed(format!("no first process; the console ended with: {}", last(&lines)))
        };
        let outcomes = cells.iter().map(|cell| (cell.name, outcome(cell, &lines)));
        let cells = if booted.passed() { outcomes.collect() } else { vec![("boot", booted)] };
        Self { kernel: kernel.to_owned(), cells, verified }
    }

    /// What came of each cell.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.cells.iter().map(|(_, outcome)| outcome)
    }
}

fn outcome(cell: &Cell, lines: &[&str]) -> Outcome {
    let begin = format!("{BEGIN}{}", cell.name);
    let end = format!("{END}{}: ", cell.name);
    let Some(first) = lines.iter().position(|line| *line == begin) else {
        return Outcome::Failed("the guest ended before".to_owned());
    };
    let lines = &lines[first + 1..];
    let Some(length) = lines.iter().position(|line| line.starts_with(&end)) else {
        return Outcome::Failed(format!("the guest ended in it; last it said: {}", last(lines)));
    };
    let (said, result) = (&lines[..length], &lines[length][end.len()..]);
    let (code, seconds) = result.split_once(' ').unwrap_or((result, "0"));
    let code: i32 = code.parse().unwrap_or(-1);
    let skipped = said.iter().find_map(|line| text(line).strip_prefix("skipped: "));
    match skipped {
        _ if code == KILLED => {
            Outcome::Failed(format!("no end within {} s; last: {}", cell.limit_s, last(said)))
        }
        _ if code != cell.exit_code => Outcome::Failed(format!("exit code {code}: {}", reason(said))),
        Some(what) => Outcome::Skipped(what.to_owned()),
        None => Outcome::Passed(seconds.parse().unwrap_or(0)),
    }
}

/// A line without the test's name, which the runner leaves in front of what the test prints first.
fn text(line: &str) -> &str {
    line.rsplit(" ... ").next().unwrap_or(line)
}

/// What a program said of its failure: what panicked, else the first error, else its last line.
fn reason(said: &[&str]) -> String {
    let panicked = said.iter().position(|line| line.contains(" panicked at "));
    let error = said.iter().position(|line| line.starts_with("error:"));
    match panicked.or(error) {
        Some(at) => said[at..].iter().take(4).copied().collect::<Vec<_>>().join(" "),
        None => last(said).to_owned(),
    }
}

fn last<'a>(lines: &[&'a str]) -> &'a str {
    lines.iter().rev().find(|line| !line.is_empty()).copied().unwrap_or("nothing")
}

/// The table, then what the verifier counted, then the reason of every cell that did not pass.
pub(super) fn table(columns: &[Column]) -> String {
    let header: Vec<String> = columns.iter().map(|column| column.kernel.clone()).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flat_map(|column| &column.cells) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of = |column: &Column, name: &str| {
        let found = column.cells.iter().find(|(cell, _)| *cell == name);
        found.map_or("-".to_owned(), |(_, outcome)| outcome.to_string())
    };
    let rows = names.iter().map(|name| (*name, columns.iter().map(|column| of(column, name)).collect()));
    let mut text = aligned("test", &header, rows);
    let programs: BTreeSet<&str> =
        columns.iter().flat_map(|column| column.verified.keys().map(String::as_str)).collect();
    if !programs.is_empty() {
        let of =
            |column: &Column, name: &str| column.verified.get(name).map_or("-", String::as_str).to_owned();
        let rows =
            programs.iter().map(|name| (*name, columns.iter().map(|column| of(column, name)).collect()));
        text += "\n";
        text += &aligned("verified instructions", &header, rows);
    }
    for Column { kernel, cells, .. } in columns {
        for (name, outcome) in cells {
            if let Outcome::Failed(reason) | Outcome::Skipped(reason) = outcome {
                text += &format!("\n{kernel}, {name}: {reason}\n");
            }
        }
    }
    text
}

fn aligned<'a>(
    corner: &'a str,
    header: &[String],
    rows: impl Iterator<Item = (&'a str, Vec<String>)>,
) -> String {
    let mut lines = vec![(corner, header.to_vec())];
    lines.extend(rows);
    let first = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let width = |at: usize| lines.iter().map(|(_, cells)| cells[at].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |(name, cells): &(&str, Vec<String>)| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:width$}"));
        format!("{name:first$}{}", cells.collect::<String>()).trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::guest;
    use super::super::kernel::Series;
    use super::*;

    const CONSOLE: &str = "[    0.0] Linux\r\n\
        @vm begin load\r\ntest a ... verified xdp_lb 238126\r\ntest result: ok\r\n\r\n@vm end load: 0 7\r\n\
        @vm begin attach\r\nthread 'x' (7) panicked at a.rs:1:2:\r\nno veth\r\n\r\n@vm end attach: 101 3\r\n\
        @vm begin packets\r\nskipped: a::b: needs root\r\n@vm end packets: 0 1\r\n\
        @vm begin row packets\r\nrunning 9 tests\r\n@vm end row packets: 137 1800\r\n\
        @vm begin socket maps\r\nKernel panic\r\n";

    #[test]
    fn the_console_tells_what_came_of_each_program() {
        let cells = guest::cells(Series(6, 1));
        let column = Column::read("6.1", &cells, CONSOLE);
        let outcomes: Vec<_> = column.outcomes().take(6).cloned().collect();
        let failed = |reason: &str| Outcome::Failed(reason.to_owned());
        let expected = [
            Outcome::Passed(7),
            failed("exit code 101: thread 'x' (7) panicked at a.rs:1:2: no veth  "),
            Outcome::Skipped("a::b: needs root".to_owned()),
            failed("no end within 1800 s; last: running 9 tests"),
            failed("the guest ended in it; last it said: Kernel panic"),
            failed("the guest ended before"),
        ];
        assert_eq!(outcomes[0], expected[0]);
        assert!(matches!(&outcomes[1], Outcome::Failed(reason) if reason.contains("no veth")));
        assert_eq!(outcomes[2..], expected[2..]);
    }

    #[test]
    fn a_guest_that_does_not_boot_is_one_failed_cell() {
        let cells = guest::cells(Series(6, 1));
        let column = Column::read("6.1", &cells, "[ 0.1] Kernel panic - not syncing\n");
        let outcomes: Vec<_> = column.outcomes().collect();
        assert!(matches!(outcomes[..], [Outcome::Failed(reason)] if reason.contains("not syncing")));
    }

    #[test]
    fn the_table_names_kernels_tests_and_reasons() {
        let cells = guest::cells(Series(5, 10));
        let old = Column::read("5.10", &cells, "@vm begin refusal\n@vm end refusal: 3 1\n");
        let text = table(&[old, Column::absent("9.9", "Debian has no kernel 9.9")]);
        let expected = "test     5.10          9.9\n\
                        refusal  passed (1 s)  -\n\
                        boot     -             failed\n\
                        \n9.9, boot: Debian has no kernel 9.9\n";
        assert_eq!(text, expected);
    }
}
