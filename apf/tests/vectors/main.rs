//! Runs every vector file of a folder by its format and prints the cases passed per file.
//!
//! The folder is `SEAWAY_APF_CASES`, or the copies beside this test. A format or a field that is not
//! known here is a failure: a vector must not pass because nobody looked at it.

#![expect(clippy::needless_pass_by_value, reason = "a check consumes the file or the row it checks")]

mod configuration;
mod defects;
mod demand;
mod engine;
mod fairness;
mod matching;
mod numbers;
mod script;
mod traces;

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::path::PathBuf;

/// Outcome of one file: how many cases were looked at, and what was wrong.
#[derive(Default)]
struct Tally {
    cases: usize,
    failures: Vec<String>,
}

impl Tally {
    fn equal<T: PartialEq + Debug>(&mut self, case: impl Debug, got: T, expected: T) {
        self.cases += 1;
        if got != expected {
            self.failures.push(format!("{case:?}: got {got:?}, expected {expected:?}"));
        }
    }

    fn near(&mut self, case: impl Debug, got: f64, expected: f64, relative: f64) {
        self.cases += 1;
        let same = (got.is_nan() && expected.is_nan())
            || (got - expected).abs() <= relative * expected.abs().max(f64::MIN_POSITIVE)
            || (got - expected).abs() <= 1e-12;
        if !same {
            self.failures.push(format!("{case:?}: got {got}, expected {expected}"));
        }
    }
}

#[test]
fn every_vector_passes() {
    let folder = std::env::var_os("SEAWAY_APF_CASES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data"), PathBuf::from);
    let mut files = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect::<Vec<_>>();
    files.sort();
    assert!(!files.is_empty(), "no *.json in {}", folder.display());
    let mut broken = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let tally = run(serde_json::from_str(&text).unwrap());
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{name:28} {:6} of {:6} cases passed", tally.cases - tally.failures.len(), tally.cases);
        for failure in tally.failures.iter().take(5) {
            println!("    {}", failure.chars().take(600).collect::<String>());
        }
        broken += tally.failures.len() + usize::from(tally.cases == 0);
    }
    assert_eq!(broken, 0, "cases failed in {}", folder.display());
}

fn run(file: Value) -> Tally {
    let format = file.get("format").and_then(Value::as_str).unwrap_or_default().to_owned();
    match format.as_str() {
        "apf-autoupdate/1" => typed(file, configuration::autoupdate),
        "apf-borrowing/1" => typed(file, demand::borrowing),
        "apf-collision/1" => typed(file, numbers::collision),
        "apf-conc-alloc/1" => typed(file, demand::allocation),
        "apf-constants/1" => typed(file, numbers::constants),
        "apf-debug-dump/1" => typed(file, engine::dumps),
        "apf-default-matching/1" => typed(file, matching::default_matching),
        "apf-default-objects/1" => typed(file, configuration::default_objects),
        "apf-dispatch-choice/1" => typed(file, traces::dispatch_choice),
        "apf-fairness/1" => typed(file, fairness::scenarios),
        "apf-flow-hash/1" => typed(file, matching::flow_hash),
        "apf-integrator/1" => typed(file, demand::integrator),
        "apf-limits/1" => typed(file, demand::limits),
        "apf-list-seats/1" => typed(file, numbers::list_seats),
        "apf-metrics/1" => typed(file, configuration::metrics),
        "apf-queueset-traces/1" => typed(file, traces::traces),
        "apf-reference-defects/1" => typed(file, defects::defects),
        "apf-retry-after/1" => typed(file, demand::retry_after),
        "apf-rule-matching/1" => typed(file, matching::rule_matching),
        "apf-shuffle/1" => typed(file, matching::shuffle),
        "apf-validation/1" => typed(file, configuration::validation),
        "apf-wait-limit/1" => typed(file, demand::wait_limit),
        "apf-watch-tracker/1" => typed(file, matching::watch_tracker),
        "apf-width/1" => typed(file, numbers::width),
        other => failed(format!("format {other:?} is not known")),
    }
}

fn typed<T: DeserializeOwned>(file: Value, check: fn(T, &mut Tally)) -> Tally {
    match serde_json::from_value(file) {
        Ok(file) => {
            let mut tally = Tally::default();
            check(file, &mut tally);
            tally
        }
        Err(e) => failed(format!("the file does not have the known shape: {e}")),
    }
}

fn failed(message: String) -> Tally {
    Tally { cases: 1, failures: vec![message] }
}
