//! The busiest flows, in bounded memory, however many flows there are.
//!
//! The Space-Saving sketch (Metwally, Agrawal, El Abbadi 2005): a flow that is not counted yet takes
//! over the least count. A count is too high by at most the total divided by the capacity.

use crate::flow::Distinguisher;
use crate::request::Attributes;
use std::sync::Arc;

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
    /// Requests, at most.
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
