//! Requests of the whole server, reading and writing, waiting and executing.

use crate::metrics::{Page, READ_VS_WRITE, TimedHistogram};

const PHASES: [&str; 2] = ["executing", "waiting"];
const KINDS: [&str; 2] = ["mutating", "readOnly"];

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It executes.
    Executing,
    /// It waits.
    Waiting,
}

/// Counts requests in flight and their high-water marks.
#[derive(Clone, Debug)]
pub struct InFlight {
    rows: [[Row; 2]; 2],
    denominators: [u64; 2],
}

#[derive(Clone, Debug)]
struct Row {
    requests: u32,
    most: u32,
    ratio: TimedHistogram,
}

impl InFlight {
    /// Nothing in flight.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        let row = || Row { requests: 0, most: 0, ratio: TimedHistogram::new(READ_VS_WRITE, now_ns) };
        Self { rows: [[row(), row()], [row(), row()]], denominators: [1; 2] }
    }

    /// Sets how many requests could execute and wait.
    pub fn set_capacity(&mut self, executing: u64, waiting: u64) {
        self.denominators = [executing, waiting];
    }

    /// A request enters a phase.
    #[inline]
    pub fn enter(&mut self, now_ns: u64, phase: Phase, is_read: bool) {
        let row = &mut self.rows[phase as usize][usize::from(is_read)];
        row.requests += 1;
        row.most = row.most.max(row.requests);
        row.ratio.set(now_ns, row.requests.into(), self.denominators[phase as usize]);
    }

    /// A request leaves a phase.
    #[inline]
    pub fn leave(&mut self, now_ns: u64, phase: Phase, is_read: bool) {
        let row = &mut self.rows[phase as usize][usize::from(is_read)];
        row.requests = row.requests.saturating_sub(1);
        row.ratio.set(now_ns, row.requests.into(), self.denominators[phase as usize]);
    }

    /// Most requests of a phase and kind since the last call.
    pub fn take_high_watermark(&mut self, phase: Phase, is_read: bool) -> u32 {
        let row = &mut self.rows[phase as usize][usize::from(is_read)];
        std::mem::replace(&mut row.most, row.requests)
    }

    /// Puts the ratios on a page of metrics.
    pub fn export(&self, now_ns: u64, page: &mut Page) {
        for (phase, rows) in PHASES.into_iter().zip(&self.rows) {
            for (kind, row) in KINDS.into_iter().zip(rows) {
                page.histogram("read_vs_write_current_requests", &[phase, kind], row.ratio.at(now_ns));
            }
        }
    }
}
