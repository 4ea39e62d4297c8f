//! Vectors about seats over time: integrals, allocation, limits, borrowing, and the two waits.

use super::Tally;
use seaway_apf::allocate::{self, Claim};
use seaway_apf::borrow::{self, PERIOD_NS, Party};
use seaway_apf::builtin::{self, BUILTIN};
use seaway_apf::demand::{Demand, Integrator};
use seaway_apf::limits::Wishes;
use seaway_apf::object::PriorityLevel;
use seaway_apf::read::Configuration;
use seaway_apf::retry::RetryAfter;
use seaway_apf::wait;
use serde::Deserialize;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases<T> {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(rename = "tolerance")]
    _tolerance: Option<f64>,
    cases: Vec<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntegratorCase {
    ops: Vec<Operation>,
    results: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    advance_ms: u64,
    op: String,
    x: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Measured {
    d: f64,
    min: f64,
    max: f64,
    avg: Option<f64>,
    sd: Option<f64>,
}

pub(super) fn integrator(file: Cases<IntegratorCase>, tally: &mut Tally) {
    for case in file.cases {
        let mut now = 0;
        let mut integrator = Integrator::new(now);
        let mut results = case.results.iter();
        for (index, operation) in case.ops.iter().enumerate() {
            now += operation.advance_ms * MS;
            let period = match (operation.op.as_str(), operation.x.unwrap_or_default()) {
                ("set", x) => {
                    integrator.set(now, x);
                    continue;
                }
                ("add", x) => {
                    integrator.add(now, x);
                    continue;
                }
                ("get", _) => integrator.get(now),
                ("reset", _) => integrator.reset(now),
                other => panic!("operation {other:?} is not known"),
            };
            let expected = results.next().unwrap();
            let nan = f64::NAN;
            for (what, got, expected) in [
                ("seconds", period.seconds, expected.d),
                ("min", period.min, expected.min),
                ("max", period.max, expected.max),
                ("mean", period.mean, expected.avg.unwrap_or(nan)),
                ("deviation", period.deviation, expected.sd.unwrap_or(nan)),
            ] {
                tally.near((index, operation, what), got, expected, 1e-6);
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllocationCase {
    name: String,
    required_sum: f64,
    classes: Vec<Class>,
    allocs: Option<Vec<f64>>,
    fair_prop: f64,
    error_class: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    target: f64,
    lower: f64,
    upper: f64,
}

pub(super) fn allocation(file: Cases<AllocationCase>, tally: &mut Tally) {
    for case in file.cases {
        let claims: Vec<Claim> = case
            .classes
            .iter()
            .map(|class| Claim { target: class.target, lower: class.lower, upper: class.upper })
            .collect();
        match allocate::allocate(case.required_sum, &claims) {
            Ok(allocation) => {
                tally.equal((&case.name, "error"), None, case.error_class.clone());
                tally.near((&case, "proportion"), allocation.proportion, case.fair_prop, 1e-9);
                let expected = case.allocs.clone().unwrap_or_default();
                tally.equal((&case.name, "length"), allocation.shares.len(), expected.len());
                for (got, expected) in allocation.shares.iter().zip(expected) {
                    tally.near((&case, "share"), *got, expected, 1e-9);
                }
            }
            Err(error) => {
                let class = match error {
                    allocate::Error::NegativeSum(_) => "negative-sum",
                    allocate::Error::NegativeLower(_) => "negative-lower",
                    allocate::Error::TargetBelowLower(_) => "target-below-lower",
                    allocate::Error::UpperBelowLower(_) => "upper-below-lower",
                    allocate::Error::LowerSumExceedsSum { .. } => "lower-sum-exceeds-required",
                    allocate::Error::SumExceedsUpperSum { .. } => "required-exceeds-upper-sum",
                };
                // Sums are compared in words that differ between the two ends; the class must agree.
                let expected = case.error_class.clone().unwrap_or_default();
                let same = expected.starts_with(class)
                    || class.contains("upper-sum") && expected.contains("upper-sum");
                tally.equal((&case.name, class, &expected), same, true);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsCase {
    label: String,
    server_concurrency_limit: u32,
    nominal_sum: u32,
    levels: Vec<LevelLimits>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct LevelLimits {
    name: String,
    nominal: u32,
    min: u32,
    max: u32,
    initial_cur: u32,
    max_seats: u32,
}

pub(super) fn limits(file: Cases<LimitsCase>, tally: &mut Tally) {
    for case in file.cases {
        let others: Vec<&str> = case.levels.iter().map(|level| level.name.as_str()).collect();
        let Some(objects) = objects(&case.label, &others) else {
            tally.failures.push(format!("limits: objects {:?} are not known", case.label));
            continue;
        };
        let levels = parties(&objects, case.server_concurrency_limit);
        let nominal_sum: u32 = levels.iter().map(|(.., party)| party.limits.nominal).sum();
        tally.equal((&case.label, case.server_concurrency_limit), nominal_sum, case.nominal_sum);
        let mut adjusted: Vec<Party> = levels.iter().map(|(.., party)| *party).collect();
        borrow::adjust(&mut adjusted, false);
        let got: Vec<LevelLimits> = levels
            .iter()
            .zip(adjusted)
            .map(|((name, wishes, _), party)| LevelLimits {
                name: name.clone(),
                nominal: party.limits.nominal,
                min: party.limits.min,
                max: party.limits.max,
                initial_cur: party.seats,
                max_seats: wishes.max_seats(party.limits.nominal),
            })
            .collect();
        for (got, expected) in got.into_iter().zip(case.levels) {
            tally.equal((&case.label, case.server_concurrency_limit), got, expected);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BorrowingCase {
    name: String,
    objects: String,
    server_concurrency_limit: u32,
    demand_steps: Option<Vec<DemandStep>>,
    adjustments: Vec<Adjustment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DemandStep {
    at_ms: u64,
    set_demand: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adjustment {
    at_ms: u64,
    levels: BTreeMap<String, Adjusted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adjusted {
    high_watermark: u32,
    avg: f64,
    stdev: f64,
    smoothed: f64,
    current_cl: u32,
}

pub(super) fn borrowing(file: Cases<BorrowingCase>, tally: &mut Tally) {
    for case in file.cases {
        let Some(objects) = objects(&case.objects, &[]) else {
            tally.failures.push(format!("borrowing {}: objects {:?} are not known", case.name, case.objects));
            continue;
        };
        let levels = parties(&objects, case.server_concurrency_limit);
        let names: Vec<String> = levels.iter().map(|(name, ..)| name.clone()).collect();
        let mut parties: Vec<Party> = levels.into_iter().map(|(.., party)| party).collect();
        let mut integrators = vec![Integrator::new(0); parties.len()];
        let mut steps = case.demand_steps.unwrap_or_default().into_iter().peekable();
        let pass = |parties: &mut Vec<Party>, integrators: &mut Vec<Integrator>, now: u64| {
            for (party, integrator) in parties.iter_mut().zip(integrators) {
                party.demand.update(integrator.reset(now));
            }
            borrow::adjust(parties, false);
        };
        pass(&mut parties, &mut integrators, 0);
        for adjustment in case.adjustments {
            let now = adjustment.at_ms * MS;
            tally.equal((&case.name, "at the tick"), now % PERIOD_NS, 0);
            while let Some(step) = steps.next_if(|step| step.at_ms * MS <= now) {
                for (name, demand) in step.set_demand {
                    let index = names.iter().position(|known| *known == name).unwrap();
                    integrators[index].set(step.at_ms * MS, f64::from(demand));
                }
            }
            pass(&mut parties, &mut integrators, now);
            for (name, expected) in adjustment.levels {
                let party = &parties[names.iter().position(|known| *known == name).unwrap()];
                let case = (&case.name, adjustment.at_ms, &name);
                let Demand { high_watermark, mean, deviation, smoothed } = party.demand;
                let ints = (expected.high_watermark, expected.current_cl);
                tally.equal(case, (high_watermark, party.seats), ints);
                tally.near((case, "mean"), mean, expected.avg, 1e-6);
                tally.near((case, "deviation"), deviation, expected.stdev, 1e-6);
                tally.near((case, "smoothed"), smoothed, expected.smoothed, 1e-6);
            }
        }
    }
}

/// The objects that a label stands for; `names` are those of the levels that the case has.
fn objects(label: &str, names: &[&str]) -> Option<Vec<PriorityLevel>> {
    let mut levels = builtin::all().priority_levels;
    match label {
        "defaults" => {}
        "mandatory-only" => levels.clone_from(&BUILTIN.mandatory.priority_levels),
        "exempt-55-shares-50-percent-lendable" => {
            let exempt = levels.iter_mut().find_map(|level| level.spec.exempt.as_mut()).unwrap();
            exempt.nominal_concurrency_shares = Some(55);
            exempt.lendable_percent = Some(50);
        }
        // The vectors do not say what `a` and `b` ask for; these numbers follow from their limits.
        "borrow-limited" => {
            levels.push(borrower("a", 50, 33, 67));
            levels.push(borrower("b", 7, 100, 250));
        }
        // Whatever it is called, the level beside the built-in ones has no share.
        "jail-zero-shares" => {
            let known: Vec<String> = levels.iter().map(|level| level.metadata.name.clone()).collect();
            let jails = names.iter().filter(|name| !known.iter().any(|known| known == *name));
            levels.extend(jails.map(|jail| {
                let mut level = borrower(jail, 0, 0, 0);
                level.spec.limited.iter_mut().for_each(|limited| limited.borrowing_limit_percent = None);
                level
            }));
        }
        _ => return None,
    }
    levels.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Some(levels)
}

fn borrower(name: &str, shares: i32, lendable: i32, borrowing: i32) -> PriorityLevel {
    let text = format!(
        "{{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {{name: {name}}}, \
         spec: {{type: Limited, limited: {{nominalConcurrencyShares: {shares}, lendablePercent: {lendable}, \
         borrowingLimitPercent: {borrowing}, limitResponse: {{type: Queue, \
         queuing: {{queues: 64, handSize: 6, queueLengthLimit: 50}}}}}}}}}}"
    );
    Configuration::from_text("borrower", &text).unwrap().priority_levels.remove(0)
}

fn parties(levels: &[PriorityLevel], server_seats: u32) -> Vec<(String, Wishes, Party)> {
    let wishes: Vec<Wishes> = levels.iter().map(|level| Wishes::of(&level.spec).unwrap()).collect();
    let sum = wishes.iter().map(|wishes| u64::from(wishes.shares)).sum();
    let party = |wishes: &Wishes| Party {
        exempt: wishes.exempt,
        limits: wishes.limits(server_seats, sum),
        demand: Demand::default(),
        seats: 0,
        target: 0.0,
    };
    levels.iter().zip(wishes).map(|(level, w)| (level.metadata.name.clone(), w, party(&w))).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryCase {
    name: String,
    steps: Vec<RetryStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryStep {
    unix_second: u64,
    dropped: u32,
    retry_after: u64,
}

pub(super) fn retry_after(file: Cases<RetryCase>, tally: &mut Tally) {
    for case in file.cases {
        let mut level = RetryAfter::default();
        for step in case.steps {
            (0..step.dropped).for_each(|_| level.dropped(step.unix_second));
            tally.equal((&case.name, step.unix_second), level.seconds(), step.retry_after);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitCase {
    name: String,
    #[serde(default)]
    ctx_done: bool,
    deadline_in_s: Option<u64>,
    received_ago_s: Option<u64>,
    #[serde(default)]
    default_s: u64,
    limit_from_now_s: Option<u64>,
    result: Option<String>,
}

pub(super) fn wait_limit(file: Cases<WaitCase>, tally: &mut Tally) {
    for case in file.cases {
        if case.ctx_done {
            // A request whose client has gone is dropped by the runtime before it can wait: dropping
            // the future of `acquire` is covered by the cancellation tests.
            let result = case.result.unwrap_or_default();
            tally.equal(&case.name, result.as_str(), "parent context unchanged");
            continue;
        }
        let now = 1_000 * S;
        let received = case.received_ago_s.map(|ago| now - ago * S);
        let deadline = case.deadline_in_s.map(|left| now + left * S);
        let limit = wait::deadline_ns(now, received, deadline, case.default_s * S) - now;
        tally.equal(case.name, Some(limit / S), case.limit_from_now_s);
    }
}
