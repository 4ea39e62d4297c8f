//! Where this library does better than the reference, each behind a switch.

/// Deviations from the reference's behaviour. Defects that lose seats, requests or the process are
/// not here: those are never reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one switch per deviation")]
pub struct Behaviour {
    /// While the next request does not fit, let narrower ones pass, up to its own number of seats.
    pub backfill: bool,
    /// Dispatch when a waiting request leaves its queue; the reference waits for the next event.
    pub dispatch_on_cancel: bool,
    /// Advance virtual time by max-min fair shares instead of equal ones.
    pub max_min_shares: bool,
    /// Give a level that needs them its nominal seats at once instead of at the next tick.
    pub borrow_on_demand: bool,
    /// Subtract what exempt levels use before sharing out the rest.
    pub subtract_exempt: bool,
    /// Tell refused clients to come back when the queues have likely drained, with jitter.
    pub retry_after_drain: bool,
    /// Count requests that timed out as `execute="false"`.
    pub timeout_is_not_execution: bool,
}

impl Behaviour {
    /// As the reference behaves.
    pub const PARITY: Self = Self::all(false);
    /// With every improvement.
    pub const IMPROVED: Self = Self::all(true);

    const fn all(on: bool) -> Self {
        Self {
            backfill: on,
            dispatch_on_cancel: on,
            max_min_shares: on,
            borrow_on_demand: on,
            subtract_exempt: on,
            retry_after_drain: on,
            timeout_is_not_execution: on,
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::IMPROVED
    }
}
