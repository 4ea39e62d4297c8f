//! The Prometheus text format.

use super::{FAMILIES, Family, Histogram, Kind, NAMESPACE};
use crate::number;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Values of families, to be written as one page.
#[derive(Debug, Default)]
pub struct Page {
    rows: BTreeMap<&'static str, BTreeMap<Vec<String>, Value>>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl Page {
    /// Sets the value of a family for some label values, in the order of the family's labels.
    pub fn number(&mut self, family: &'static str, labels: &[&str], value: f64) {
        self.put(family, labels, Value::Number(value));
    }

    /// Adds to the value of a family.
    pub fn add(&mut self, family: &'static str, labels: &[&str], value: f64) {
        let old = self.value(family, labels).unwrap_or_default();
        self.number(family, labels, old + value);
    }

    /// Adds a histogram to those given for the same labels.
    pub fn histogram(&mut self, family: &'static str, labels: &[&str], mut value: Histogram) {
        if let Some(Value::Histogram(old)) = self.rows.get(family).and_then(|rows| rows.get(&key(labels))) {
            value.merge(old);
        }
        self.put(family, labels, Value::Histogram(value));
    }

    /// The value of a counter or gauge.
    #[must_use]
    pub fn value(&self, family: &str, labels: &[&str]) -> Option<f64> {
        match self.rows.get(family)?.get(&key(labels))? {
            Value::Number(number) => Some(*number),
            Value::Histogram(_) => None,
        }
    }

    /// Number of observations of a histogram.
    #[must_use]
    pub fn count(&self, family: &str, labels: &[&str]) -> Option<u64> {
        match self.rows.get(family)?.get(&key(labels))? {
            Value::Number(_) => None,
            Value::Histogram(histogram) => Some(histogram.count()),
        }
    }

    /// The page; families without a value keep their head lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for family in FAMILIES {
            self.family(family, &mut text).expect("writing to a string does not fail");
        }
        text
    }

    fn put(&mut self, family: &'static str, labels: &[&str], value: Value) {
        self.rows.entry(family).or_default().insert(key(labels), value);
    }

    fn family(&self, family: &Family, text: &mut String) -> std::fmt::Result {
        let name = format!("{NAMESPACE}_{}", family.name);
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help)?;
        for (values, value) in self.rows.get(family.name).into_iter().flatten() {
            let labels = family
                .labels
                .iter()
                .zip(values)
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect::<Vec<_>>();
            match value {
                Value::Number(number) => writeln!(text, "{name}{} {number}", braced(&labels))?,
                Value::Histogram(histogram) => write_histogram(text, &name, &labels, histogram)?,
            }
        }
        Ok(())
    }
}

fn key(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|&label| label.to_owned()).collect()
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &[String],
    histogram: &Histogram,
) -> std::fmt::Result {
    let mut labels = labels.to_vec();
    let mut total = 0;
    for (index, count) in histogram.counts().iter().enumerate() {
        total += count;
        let bound = histogram.bounds().get(index).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        labels.push(format!("le=\"{bound}\""));
        writeln!(text, "{name}_bucket{} {total}", braced(&labels))?;
        labels.pop();
    }
    let labels = braced(&labels);
    writeln!(text, "{name}_sum{labels} {}\n{name}_count{labels} {}", histogram.sum(), number::float(total))
}

fn braced(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
