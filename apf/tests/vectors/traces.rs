//! Vectors about queue sets: scripts of events, and the choice of the next queue.

use super::Tally;
use super::script::{Event, Outcome, Script, Shape};
use seaway_apf::behaviour::Behaviour;
use seaway_apf::queueset::{self, Order, Reason, Totals};
use seaway_apf::seats::{GUESS_NS, SCALE, SeatSeconds};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Traces {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    g_ns: u64,
    ss_scale: u64,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    config: Shape,
    events: Vec<Event>,
    expected: Vec<Expected>,
    dispatch_order: Vec<u32>,
    #[serde(rename = "final")]
    end: End,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: u32,
    outcome: String,
    at_ns: u64,
    queue: Option<i64>,
    r_at_dispatch: Option<String>,
    r_at_arrival: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    current_r: String,
    now_ns: u64,
    dispatched: u64,
    rejected: u64,
    cancelled: u64,
    seats_in_use: u32,
    /// What the reference leaks when dispatch reshapes a request; nothing waits at the end, so 0 is right.
    #[serde(rename = "seats_waiting")]
    _seats_waiting: u32,
    num_queues: usize,
    robin_index: i64,
}

pub(super) fn traces(file: Traces, tally: &mut Tally) {
    tally.equal("guess and scale", (file.g_ns, file.ss_scale), (GUESS_NS, SCALE));
    for scenario in file.scenarios {
        let mut script = Script::new(scenario.config, Behaviour::PARITY, scenario.events);
        script.run(|_| ());
        for expected in scenario.expected {
            let case = (&scenario.name, expected.id);
            let got = script.outcomes.get(&expected.id).cloned();
            tally.equal(case, got, Some(expected.outcome()));
        }
        tally.equal((&scenario.name, "order"), &script.dispatch_order, &scenario.dispatch_order);
        let (set, totals) = (&script.set, script.set.totals());
        let got = (
            (set.progress().0.to_string(), script.now_ns, totals.dispatched, totals.rejected),
            (totals.cancelled, totals.seats_in_use, totals.seats_waiting, set.queue_count(), set.robin()),
        );
        let end = scenario.end;
        let expected = (
            (end.current_r, end.now_ns, end.dispatched, end.rejected),
            (end.cancelled, end.seats_in_use, 0, end.num_queues, end.robin_index),
        );
        tally.equal((&scenario.name, "end"), got, expected);
    }
}

impl Expected {
    fn outcome(&self) -> Outcome {
        let number = |text: &Option<String>| text.as_ref().map(|text| text.parse().unwrap());
        Outcome {
            refused: match (self.outcome.as_str(), self.reason.as_deref()) {
                ("executed", None) => None,
                ("rejected", Some(reason)) => {
                    Some(*Reason::ALL.iter().find(|known| known.as_str() == reason).unwrap())
                }
                other => panic!("outcome {other:?} is not known"),
            },
            at_ns: self.at_ns,
            queue: self.queue,
            r_at_dispatch: number(&self.r_at_dispatch),
            r_at_arrival: number(&self.r_at_arrival),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choices {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    cases: Vec<Choice>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    name: String,
    limit: u32,
    in_use: u32,
    robin: i64,
    queues: Vec<ChoiceQueue>,
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceQueue {
    next_dispatch_r_seat_seconds: u64,
    head_initial_seats: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    set_in_use: Option<u32>,
    picked: Option<u32>,
    robin_after: i64,
}

pub(super) fn dispatch_choice(file: Choices, tally: &mut Tally) {
    for case in file.cases {
        let mut order = Order::new(case.queues.len());
        for (queue, index) in case.queues.iter().zip(0..) {
            let start = SeatSeconds(queue.next_dispatch_r_seat_seconds * SCALE);
            let width = queue.head_initial_seats;
            order.set(index, Some((start.plus(SeatSeconds::of_seats(width, GUESS_NS)).0, width)));
        }
        let config = queueset::Config {
            queues: i32::try_from(case.queues.len()).unwrap(),
            seats: case.limit,
            ..queueset::Config::default()
        };
        let (mut robin, mut seats_in_use) = (case.robin, case.in_use);
        for attempt in case.attempts {
            seats_in_use = attempt.set_in_use.unwrap_or(seats_in_use);
            robin = robin.rem_euclid(case.queues.len().try_into().unwrap());
            let totals = Totals { seats_in_use, ..Totals::default() };
            let fits =
                |index: &u32| queueset::fits(config, totals, case.queues[*index as usize].head_initial_seats);
            let picked = order.first(robin).filter(fits);
            robin = picked.map_or(robin, i64::from);
            tally.equal(&case.name, (picked, robin), (attempt.picked, attempt.robin_after));
        }
    }
}
