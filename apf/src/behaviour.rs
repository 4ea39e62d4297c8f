//! Where this library does better than the reference, each behind a switch.

/// Deviations from the reference's behaviour. Defects that lose seats, requests or the process are
/// not here: those are never reproduced.
///
/// ```
/// use seaway_apf::behaviour::Behaviour;
///
/// let strict = Behaviour::IMPROVED.with_backfill(false);
/// assert!(!strict.backfill && strict.borrow_on_demand);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one switch per deviation")]
#[non_exhaustive]
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

macro_rules! switches {
    ($($with:ident sets $switch:ident),* $(,)?) => {
        impl Behaviour {
            const fn all(on: bool) -> Self {
                Self { $($switch: on),* }
            }
            $(
                #[doc = concat!("With [`Behaviour::", stringify!($switch), "`] on or off.")]
                #[must_use]
                pub const fn $with(self, on: bool) -> Self {
                    Self { $switch: on, ..self }
                }
            )*
        }
    };
}

switches! {
    with_backfill sets backfill,
    with_dispatch_on_cancel sets dispatch_on_cancel,
    with_max_min_shares sets max_min_shares,
    with_borrow_on_demand sets borrow_on_demand,
    with_subtract_exempt sets subtract_exempt,
    with_retry_after_drain sets retry_after_drain,
    with_timeout_is_not_execution sets timeout_is_not_execution,
}

impl Behaviour {
    /// As the reference behaves.
    pub const PARITY: Self = Self::all(false);
    /// With every improvement.
    pub const IMPROVED: Self = Self::all(true);
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::IMPROVED
    }
}
