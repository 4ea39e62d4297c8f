//! Tables that look like kubectl's, and the choice between them and JSON.

use std::io::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

/// Columns are this far apart.
const COLUMN_GAP: u16 = 3;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns.
    Text,
    /// One JSON document.
    Json,
}

/// Aligns rows under a header, without lines; the last column has no trailing space.
pub(crate) fn render<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, COLUMN_GAP));
    }
    table.trim_fmt()
}

/// Prints rows as a table, or what they were made from as JSON.
pub(crate) fn print<T: Serialize, const N: usize>(
    output: Output,
    items: &[T],
    header: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> Result<()> {
    match output {
        Output::Text => say(&render(header, items.iter().map(row))),
        Output::Json => say(&serde_json::to_string_pretty(items)?),
    }
}

/// Prints a text and ends its last line.
pub(crate) fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot print")
}
