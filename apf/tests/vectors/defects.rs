//! The scenarios in which the reference crashes, leaks or misreports.

use super::Tally;
use super::script::{Event, Script, Shape};
use seaway_apf::behaviour::Behaviour;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defects {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<Defect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defect {
    name: String,
    config: Option<Shape>,
    #[serde(default)]
    events: Vec<Event>,
    generate: Option<String>,
    #[serde(rename = "see")]
    _see: Option<String>,
    #[serde(rename = "reference")]
    _reference: String,
    #[serde(rename = "required")]
    _required: String,
}

pub(super) fn defects(file: Defects, tally: &mut Tally) {
    for case in file.cases {
        match (case.name.as_str(), case.config) {
            ("stale-index-out-of-range", Some(shape)) => both(&case, shape, tally, |script, tally| {
                let at: Vec<u64> = [0, 1].map(|id| script.outcomes[&id].at_ns).to_vec();
                tally.equal(&case.name, at, vec![0, 0]);
                tally.equal(&case.name, (script.set.totals().seats_in_use, script.now_ns), (0, 60_000_000));
            }),
            ("stale-index-wrong-queue", Some(shape)) => both(&case, shape, tally, |script, tally| {
                let executed = script.outcomes.values().filter(|outcome| outcome.refused.is_none()).count();
                tally.equal(&case.name, (executed, script.set.totals().seats_in_use), (6, 0));
            }),
            ("seat-demand-leak", Some(shape)) => both(&case, shape, tally, |script, tally| {
                let totals = script.set.totals();
                tally.equal(&case.name, (totals.seats_waiting, totals.dispatched), (0, 100));
            }),
            (other, _) if super::engine::defect(other, tally) => {}
            (other, _) => tally.failures.push(format!("defect {other:?} is not known")),
        }
    }
}

fn both(case: &Defect, shape: Shape, tally: &mut Tally, check: impl Fn(&Script, &mut Tally)) {
    for behaviour in [Behaviour::PARITY, Behaviour::IMPROVED] {
        let events = if case.generate.is_some() { generated() } else { case.events.clone() };
        let mut script = Script::new(shape, behaviour, events);
        script.run(|_| ());
        check(&script, tally);
    }
}

/// "100 arrivals, one every 100 ms, hash 1, init 1, final 10, extra 5 ms, exec 10 ms".
fn generated() -> Vec<Event> {
    let arrival = |id: u32| Event::Arrive {
        t: u64::from(id) * 100_000_000,
        id,
        _flow: "f".into(),
        hash: "1".into(),
        init_seats: 1,
        final_seats: 10,
        extra_ns: 5_000_000,
        exec_ns: 10_000_000,
        wait_ns: 0,
    };
    (0..100).map(arrival).collect()
}
