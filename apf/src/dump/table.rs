//! Rows of cells, aligned as the debug endpoints of the Kubernetes API server align them.

use serde_json::Value;

const CELL_MIN: usize = 8;
const PADDING: usize = 1;

pub(super) struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Cells end in a comma and are padded to the widest of their column; the last one of a row is not.
    pub(super) fn text(&self) -> String {
        let head: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| lines().map(|row| row[at].chars().count() + 1 + PADDING).fold(CELL_MIN, usize::max))
            .collect();
        let mut text = String::new();
        for row in lines() {
            let (last, cells) = row.split_last().expect("rows have cells");
            for (cell, width) in cells.iter().zip(&widths) {
                text.push_str(&format!("{:width$}", format!("{cell},")));
            }
            text.push_str(last);
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let object = |row: &Vec<String>| {
            let cells = self.columns.iter().zip(row);
            Value::Object(cells.map(|(name, cell)| ((*name).to_owned(), typed(cell))).collect())
        };
        self.rows.iter().map(object).collect()
    }
}

fn typed(cell: &str) -> Value {
    match cell {
        "true" => true.into(),
        "false" => false.into(),
        _ => cell.parse::<i64>().map_or_else(|_| cell.into(), Into::into),
    }
}
