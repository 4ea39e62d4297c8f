//! What a simulation showed: per flow and in all.

use super::replay::{Outcome, Replay};
use crate::apf::table;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Points of time in the curves.
const POINTS: usize = 120;

/// What a simulation showed.
pub(super) struct Report {
    pub name: String,
    pub flows: BTreeMap<String, Flow>,
    /// End of the last request, in seconds.
    pub seconds: f64,
    /// Jain's index of the parts of their max-min fair shares that flows got: 1 is fair.
    fairness: f64,
    /// The worst 99th percentile of the waits of flows that asked for less than an equal share.
    light_wait_ms: f64,
}

/// One flow.
#[derive(Default)]
pub(super) struct Flow {
    levels: Vec<String>,
    requests: u64,
    executed: u64,
    refused: BTreeMap<&'static str, u64>,
    /// Sorted, in milliseconds.
    waits_ms: Vec<f64>,
    mean_seats: f64,
    /// Seats it would have taken had every request executed at once.
    asked_seats: f64,
    /// Seats taken, and the mean wait in milliseconds of requests that started, over time.
    pub curves: [Vec<f64>; 2],
    /// Requests that started, over time.
    starts: Vec<f64>,
}

impl Report {
    pub(super) fn new(name: String, replay: &Replay<'_>) -> Self {
        let end_ns = replay.outcomes.iter().map(|outcome| outcome.ended_ns).max().unwrap_or(0).max(1);
        let mut flows = BTreeMap::<String, Flow>::new();
        for outcome in &replay.outcomes {
            let flow = flows.entry(outcome.flow.clone()).or_default();
            flow.add(outcome, end_ns);
        }
        for flow in flows.values_mut() {
            flow.waits_ms.sort_by(f64::total_cmp);
            flow.carry_waits();
            let each = if flow.executed > 0 { flow.mean_seats / flow.executed as f64 } else { 0.0 };
            flow.asked_seats = each * flow.requests as f64;
        }
        let level = water_level(&flows);
        let parts: Vec<f64> = flows
            .values()
            .map(|flow| flow.mean_seats / flow.asked_seats.min(level).max(f64::MIN_POSITIVE))
            .collect();
        let (sum, squares) = (parts.iter().sum::<f64>(), parts.iter().map(|part| part * part).sum::<f64>());
        let fairness = if squares > 0.0 { sum * sum / (squares * parts.len() as f64) } else { 1.0 };
        let equal = flows.values().map(|flow| flow.mean_seats).sum::<f64>() / flows.len().max(1) as f64;
        let light = flows.values().filter(|flow| flow.asked_seats < equal);
        let light_wait_ms = light.map(|flow| flow.wait(0.99)).fold(0.0, f64::max);
        Self { name, flows, seconds: end_ns as f64 / 1e9, fairness, light_wait_ms }
    }

    pub(super) fn text(&self) -> String {
        let head =
            ["FLOW", "LEVEL", "REQUESTS", "EXECUTED", "REFUSED", "WAIT-P50", "WAIT-P99", "WAIT-MAX", "SEATS"];
        let rows = self.flows.iter().map(|(name, flow)| {
            let refused: u64 = flow.refused.values().sum();
            vec![
                name.clone(),
                if flow.levels.is_empty() { "-".into() } else { flow.levels.join(",") },
                flow.requests.to_string(),
                flow.executed.to_string(),
                refused.to_string(),
                format!("{:.1}ms", flow.wait(0.5)),
                format!("{:.1}ms", flow.wait(0.99)),
                format!("{:.1}ms", flow.wait(1.0)),
                format!("{:.2}", flow.mean_seats),
            ]
        });
        let seats: f64 = self.flows.values().map(|flow| flow.mean_seats).sum();
        format!(
            "{}: {:.1} s, {seats:.1} seats in use on average\n\
             fairness {:.3}, light flows wait at most {:.1} ms (99th percentile)\n{}",
            self.name,
            self.seconds,
            self.fairness,
            self.light_wait_ms,
            table(&head, rows.collect())
        )
    }

    pub(super) fn json(&self) -> Value {
        let flow = |(name, flow): (&String, &Flow)| {
            let value = json!({
                "levels": flow.levels,
                "requests": flow.requests,
                "executed": flow.executed,
                "refused": flow.refused,
                "waitMs": { "p50": flow.wait(0.5), "p90": flow.wait(0.9), "p99": flow.wait(0.99),
                            "max": flow.wait(1.0) },
                "meanSeats": flow.mean_seats,
            });
            (name.clone(), value)
        };
        json!({
            "name": self.name,
            "seconds": self.seconds,
            "fairness": self.fairness,
            "lightWaitP99Ms": self.light_wait_ms,
            "flows": self.flows.iter().map(flow).collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The most seats of a flow if the seats that all had together were shared max-min fairly.
fn water_level(flows: &BTreeMap<String, Flow>) -> f64 {
    let mut asked: Vec<f64> = flows.values().map(|flow| flow.asked_seats).collect();
    asked.sort_by(f64::total_cmp);
    let mut left: f64 = flows.values().map(|flow| flow.mean_seats).sum();
    for (index, one) in asked.iter().enumerate() {
        let share = left / (asked.len() - index) as f64;
        if *one > share {
            return share;
        }
        left -= one;
    }
    asked.last().copied().unwrap_or_default()
}

impl Flow {
    fn add(&mut self, outcome: &Outcome, end_ns: u64) {
        self.requests += 1;
        if !outcome.level.is_empty() && !self.levels.contains(&outcome.level) {
            self.levels.push(outcome.level.clone());
        }
        if let Some(started_ns) = outcome.started_ns {
            self.executed += 1;
            let wait_ms = (started_ns - outcome.arrived_ns) as f64 / 1e6;
            self.waits_ms.push(wait_ms);
            self.note_wait(started_ns, wait_ms, end_ns);
            let seats = f64::from(outcome.seats);
            self.mean_seats += seats * (outcome.ended_ns - started_ns) as f64 / end_ns as f64;
            self.draw_seats(started_ns, outcome.ended_ns, seats, end_ns);
        }
        if let Some(reason) = outcome.refused {
            *self.refused.entry(reason).or_default() += 1;
        }
    }

    /// Adds a span to the seats, as its mean over each of the intervals that it touches.
    fn draw_seats(&mut self, from_ns: u64, to_ns: u64, seats: f64, end_ns: u64) {
        let curve = &mut self.curves[0];
        curve.resize(POINTS, 0.0);
        let width = end_ns as f64 / POINTS as f64;
        for (index, value) in curve.iter_mut().enumerate() {
            let (start, end) = (index as f64 * width, (index + 1) as f64 * width);
            let overlap = (to_ns as f64).min(end) - (from_ns as f64).max(start);
            if overlap > 0.0 {
                *value += seats * overlap / width;
            }
        }
    }

    fn note_wait(&mut self, started_ns: u64, wait_ms: f64, end_ns: u64) {
        self.curves[1].resize(POINTS, 0.0);
        self.starts.resize(POINTS, 0.0);
        let index = u128::from(started_ns) * POINTS as u128 / (u128::from(end_ns) + 1);
        let index = usize::try_from(index).unwrap_or(0);
        let (mean, starts) = (&mut self.curves[1][index], &mut self.starts[index]);
        *starts += 1.0;
        *mean += (wait_ms - *mean) / *starts;
    }

    /// Where nothing started, the curve goes on as it was.
    fn carry_waits(&mut self) {
        let mut last = 0.0;
        for (mean, starts) in self.curves[1].iter_mut().zip(&self.starts) {
            if *starts > 0.0 {
                last = *mean;
            } else {
                *mean = last;
            }
        }
    }

    /// The wait that this part of the executed requests did not exceed, in milliseconds.
    fn wait(&self, part: f64) -> f64 {
        let rank = (self.waits_ms.len() as f64 * part).ceil();
        let index = (1..=self.waits_ms.len()).find(|index| *index as f64 >= rank).unwrap_or(0);
        index.checked_sub(1).map_or(0.0, |index| self.waits_ms[index])
    }
}
