//! The old way: at most so many requests in flight, reading and mutating, whoever sends them.

/// Limits of `--max-requests-inflight` and its sibling.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most reading requests in flight; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = seaway_apf::limits::SEATS_READING)]
    max_requests_inflight: u32,
    /// Most mutating requests in flight; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = seaway_apf::limits::SEATS_MUTATING)]
    max_mutating_requests_inflight: u32,
}

/// Requests in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxInFlight {
    limits: Limits,
    in_flight: [u32; 2],
}

impl MaxInFlight {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, in_flight: [0; 2] }
    }

    /// Lets a request in unless its kind is at the limit.
    pub(super) fn enter(&mut self, is_read: bool) -> bool {
        let limits = [self.limits.max_mutating_requests_inflight, self.limits.max_requests_inflight];
        let (limit, count) = (limits[usize::from(is_read)], &mut self.in_flight[usize::from(is_read)]);
        let enters = limit == 0 || *count < limit;
        *count += u32::from(enters);
        enters
    }

    /// A request that was let in has ended.
    pub(super) const fn leave(&mut self, is_read: bool) {
        self.in_flight[is_read as usize] -= 1;
    }
}
