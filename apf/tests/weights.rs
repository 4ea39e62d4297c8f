//! Weights of flows within a level: max-min fairness, whatever flows want and weigh.

use proptest::prelude::*;
use seaway_apf::behaviour::Behaviour;
use seaway_apf::flow::Distinguisher;
use seaway_apf::queueset::{Arrival, Config, Decision, QueueSet};
use seaway_apf::seats::Work;
use std::collections::BTreeMap;

const SEATS: u32 = 12;
const MS: u64 = 1_000_000;
const RUN_MS: u64 = 20_000;
/// Queues, far more than flows: each flow has one of its own.
const QUEUES: i32 = 64;

/// A flow that keeps so many requests going, as far as it may.
#[derive(Clone, Copy, Debug)]
struct Flow {
    weight: u32,
    wants: u32,
    exec_ms: u64,
}

fn flow() -> impl Strategy<Value = Flow> {
    (1..6u32, 1..16u32, 5..40u64).prop_map(|(weight, wants, exec_ms)| Flow { weight, wants, exec_ms })
}

/// The seats that each flow has on average.
fn seats_held(flows: &[Flow]) -> Vec<f64> {
    let config = Config { queues: QUEUES, hand_size: 1, queue_length_limit: 1000, seats: SEATS };
    let mut set = QueueSet::<usize, usize>::new(config, Behaviour::IMPROVED, 0).unwrap();
    let schema = set.schema(&"s".into(), Distinguisher::ByUser, false);
    let mut ends = BTreeMap::<(u64, u64), (usize, _)>::new();
    let (mut order, mut held) = (0, vec![0; flows.len()]);
    let mut arriving: Vec<usize> =
        flows.iter().enumerate().flat_map(|(index, flow)| vec![index; flow.wants as usize]).collect();
    let mut now = 0;
    loop {
        let mut started = Vec::new();
        for index in std::mem::take(&mut arriving) {
            let arrival = Arrival {
                hash: index as u64,
                work: Work::seats(1),
                weight: flows[index].weight,
                schema,
                detail: index,
            };
            match set.arrive(now, arrival, |_| index) {
                Decision::Executing(id) => started.push((id, index)),
                Decision::Waiting(_) => {}
                Decision::Refused(reason) => panic!("{reason:?}"),
            }
        }
        started.extend(set.take_ready());
        for (id, index) in started {
            order += 1;
            ends.insert((now + flows[index].exec_ms * MS, order), (index, id));
            held[index] += flows[index].exec_ms;
        }
        let Some(((at, _), (index, id))) = ends.pop_first() else { break };
        if at > RUN_MS * MS {
            break;
        }
        now = at;
        set.finish(now, id);
        arriving.push(index);
    }
    held.into_iter().map(|ms| ms as f64 / RUN_MS as f64).collect()
}

/// Weighted max-min shares: nobody gets more than it wants, and what is left goes to the others by weight.
fn max_min(flows: &[Flow]) -> Vec<f64> {
    let mut shares = vec![0.0; flows.len()];
    let mut left = f64::from(SEATS);
    let mut open: Vec<usize> = (0..flows.len()).collect();
    while !open.is_empty() {
        let weights: f64 = open.iter().map(|index| f64::from(flows[*index].weight)).sum();
        let height = left / weights;
        let (full, rest): (Vec<_>, Vec<_>) = open
            .iter()
            .copied()
            .partition(|index| f64::from(flows[*index].wants) <= height * f64::from(flows[*index].weight));
        if full.is_empty() {
            for index in rest {
                shares[index] = height * f64::from(flows[index].weight);
            }
            break;
        }
        for index in full {
            shares[index] = f64::from(flows[index].wants);
            left -= shares[index];
        }
        open = rest;
    }
    shares
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn flows_get_their_weighted_max_min_share(flows in prop::collection::vec(flow(), 1..6)) {
        let (held, fair) = (seats_held(&flows), max_min(&flows));
        for (index, flow) in flows.iter().enumerate() {
            // A seat that is free goes to who waits, and a flow's next request comes a moment after its last
            // one ended: a flow that wants no more than its share may be one seat off.
            prop_assert!(
                held[index] >= fair[index] * 0.93 - 1.0,
                "{flow:?} has {:.2} seats, {:.2} are fair; {flows:?} {held:.2?} {fair:.2?}",
                held[index], fair[index]
            );
        }
    }
}

#[test]
fn a_flow_of_weight_three_has_three_times_the_seats_of_a_flow_of_weight_one() {
    let flow = |weight| Flow { weight, wants: 30, exec_ms: 10 };
    let held = seats_held(&[flow(1), flow(3)]);
    assert!((held[0] - 3.0).abs() < 0.2 && (held[1] - 9.0).abs() < 0.2, "{held:?}");
}
