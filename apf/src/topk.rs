//! The busiest flows, in bounded memory, however many flows there are.
//!
//! The Space-Saving sketch (Metwally, Agrawal, El Abbadi 2005): a flow that is not counted yet takes
//! over the least count. A count is too high by at most the total divided by the capacity. Counts decay,
//! so that what was busy yesterday does not hide what is busy now.

use crate::flow::Distinguisher;
use crate::request::Attributes;
use std::sync::Arc;

/// One part in so many is forgotten at each decay.
const DECAY_PART: u64 = 9;
/// Flows counted at once.
pub const FLOWS_MAX: usize = 32;

/// Counts requests of the busiest flows.
#[derive(Clone, Debug, Default)]
pub struct TopFlows {
    hashes: Vec<u64>,
    counts: Vec<Count>,
}

#[derive(Clone, Debug)]
struct Count {
    requests: u64,
    overcount: u64,
    schema: Arc<str>,
    distinguisher: Distinguisher,
    sample: Arc<Attributes>,
}

/// One busy flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Name of the schema.
    pub schema: String,
    /// What tells the flow from others of the schema.
    pub distinguisher: String,
    /// Requests of the last minutes, at most; older ones count less.
    pub requests: u64,
    /// By how much that may be too many.
    pub overcount: u64,
}

impl TopFlows {
    /// Counts a request. `hash` identifies the flow.
    #[inline]
    pub fn count(
        &mut self,
        hash: u64,
        schema: &Arc<str>,
        distinguisher: Distinguisher,
        attributes: &Arc<Attributes>,
    ) {
        if let Some(at) = self.hashes.iter().position(|known| *known == hash) {
            self.counts[at].requests += 1;
            return;
        }
        let fresh = |overcount: u64| Count {
            requests: overcount + 1,
            overcount,
            schema: Arc::clone(schema),
            distinguisher,
            sample: Arc::clone(attributes),
        };
        if self.counts.len() < FLOWS_MAX {
            self.hashes.push(hash);
            self.counts.push(fresh(0));
            return;
        }
        let least = self.counts.iter().enumerate().min_by_key(|(_, count)| count.requests);
        if let Some((at, least)) = least.map(|(at, count)| (at, count.requests)) {
            self.hashes[at] = hash;
            self.counts[at] = fresh(least);
        }
    }

    /// Forgets a part of all counts, to be called every ten seconds: half is forgotten after a minute.
    pub fn decay(&mut self) {
        for count in &mut self.counts {
            count.requests -= count.requests.div_ceil(DECAY_PART);
            count.overcount = count.overcount.min(count.requests);
        }
        let mut stays = self.counts.iter().map(|count| count.requests > 0);
        self.hashes.retain(|_| stays.next().unwrap_or(true));
        self.counts.retain(|count| count.requests > 0);
    }

    /// The flows counted, busiest first.
    #[must_use]
    pub fn flows(&self) -> Vec<Flow> {
        let flow = |count: &Count| Flow {
            schema: count.schema.to_string(),
            distinguisher: count.distinguisher.of(&count.sample).to_owned(),
            requests: count.requests,
            overcount: count.overcount,
        };
        let mut flows: Vec<_> = self.counts.iter().map(flow).collect();
        flows.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.distinguisher.cmp(&b.distinguisher)));
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_that_was_busy_long_ago_is_forgotten() {
        let mut top = TopFlows::default();
        let count = |top: &mut TopFlows, hash, user: &str, times| {
            let sample = Arc::new(Attributes::user(user));
            for _ in 0..times {
                top.count(hash, &"s".into(), Distinguisher::ByUser, &sample);
            }
        };
        count(&mut top, 1, "yesterday", 100_000);
        for _ in 0..60 {
            top.decay();
            count(&mut top, 2, "now", 100);
        }
        let flows = top.flows();
        assert_eq!(flows[0].distinguisher, "now");
        for _ in 0..200 {
            top.decay();
        }
        assert!(top.flows().is_empty());
    }
}
