//! Borrowing: how many seats each level has for now, given what all of them want.

use crate::allocate::{Claim, allocate};
use crate::demand::Demand;
use crate::limits::Limits;
use crate::number;
use smallvec::SmallVec;

/// Time between two adjustments, in nanoseconds.
pub const PERIOD_NS: u64 = 10_000_000_000;

/// One level as borrowing sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Party {
    /// Whether it takes what it wants.
    pub exempt: bool,
    /// Its bounds.
    pub limits: Limits,
    /// What it wants.
    pub demand: Demand,
    /// Seats it has; set by [`adjust`].
    pub seats: u32,
    /// Seats it should have if there were enough; set by [`adjust`]. 0 for exempt levels.
    pub target: f64,
}

/// Sets the seats of all levels; returns the proportion of its target that a level without bounds
/// gets, 0 if there is not enough for all to have what they are entitled to. `subtract_exempt` shares
/// out only what exempt levels leave, which the reference forgets to subtract when there is plenty.
pub fn adjust(parties: &mut [Party], subtract_exempt: bool) -> f64 {
    let nominal_sum: f64 = parties.iter().map(|party| f64::from(party.limits.nominal)).sum();
    let mut remaining = nominal_sum;
    for party in parties.iter_mut().filter(|party| party.exempt) {
        party.target = 0.0;
        party.seats = party.limits.min.max(party.demand.high_watermark);
        remaining -= f64::from(party.seats);
    }
    let (mut min_sum, mut entitled_sum) = (0.0, 0.0);
    let mut claims = SmallVec::<[Claim; 16]>::new();
    for party in parties.iter_mut().filter(|party| !party.exempt) {
        let entitled = f64::from(party.entitled());
        party.target = entitled.max(party.demand.smoothed);
        min_sum += f64::from(party.limits.min);
        entitled_sum += entitled;
        let upper = f64::from(party.limits.max).max(entitled);
        claims.push(Claim { target: party.target, lower: entitled, upper });
    }
    let limited = parties.iter_mut().filter(|party| !party.exempt);
    if remaining <= min_sum {
        limited.for_each(|party| party.seats = party.limits.min);
        return 0.0;
    }
    if remaining <= entitled_sum {
        let part = (remaining - min_sum) / (entitled_sum - min_sum);
        for party in limited {
            let above = f64::from(party.entitled() - party.limits.min);
            party.seats = party.limits.min + number::round_seats(above * part);
        }
        return 0.0;
    }
    let sum = if subtract_exempt { remaining } else { nominal_sum };
    let Ok(allocation) = allocate(sum, &claims) else { return 0.0 };
    for (party, share) in limited.zip(allocation.shares) {
        party.seats = number::round_seats(share);
    }
    allocation.proportion
}

impl Party {
    /// What the level gets before any other may exceed its own entitlement.
    fn entitled(&self) -> u32 {
        self.limits.min.max(self.limits.nominal.min(self.demand.high_watermark))
    }
}

/// Denominator of a level's ratio metrics.
#[must_use]
pub fn denominator(seats: u32, server_seats: u32) -> u32 {
    if seats > 0 { seats } else { number::round_seats(f64::from(server_seats) / 10.0).max(1) }
}
