//! Sharing out a sum in proportion to targets, within bounds.

/// Targets below this count as this much, so that proportions are defined.
pub const TARGET_MIN: f64 = 0.001;
/// Sums closer than this are equal.
pub const EPSILON: f64 = 1e-7;

/// One that shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// What it would like.
    pub target: f64,
    /// The least it gets.
    pub lower: f64,
    /// The most it gets.
    pub upper: f64,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// What each claim gets, in their order.
    pub shares: Vec<f64>,
    /// The proportion of its target that an unbounded claim gets.
    pub proportion: f64,
}

/// Why a sum cannot be shared out.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is less than nothing.
    #[error("the sum to share out, {0}, is negative")]
    NegativeSum(f64),
    /// A lower bound is negative.
    #[error("claim {0} has a negative lower bound")]
    NegativeLower(usize),
    /// A target is out of bounds.
    #[error("claim {0} has a target below its lower bound")]
    TargetBelowLower(usize),
    /// Bounds are crossed.
    #[error("claim {0} has an upper bound below its lower one")]
    UpperBelowLower(usize),
    /// Too little for the lower bounds.
    #[error("the lower bounds sum up to {lower}, more than {sum}")]
    LowerSumExceedsSum {
        /// Sum of the lower bounds.
        lower: f64,
        /// The sum to share out.
        sum: f64,
    },
    /// Too much for the upper bounds.
    #[error("the upper bounds sum up to {upper}, less than {sum}")]
    SumExceedsUpperSum {
        /// Sum of the upper bounds.
        upper: f64,
        /// The sum to share out.
        sum: f64,
    },
}

/// Shares out `sum` so that each claim gets the same proportion of its target, clamped to its bounds.
///
/// # Errors
/// The first rule broken, in the order of [`Error`].
pub fn allocate(sum: f64, claims: &[Claim]) -> Result<Allocation, Error> {
    check(sum, claims)?;
    let (mut lower, mut upper) = (0.0, 0.0);
    for claim in claims {
        lower += claim.lower;
        upper += claim.upper;
    }
    if lower - sum > EPSILON {
        return Err(Error::LowerSumExceedsSum { lower, sum });
    }
    if sum - upper > EPSILON {
        return Err(Error::SumExceedsUpperSum { upper, sum });
    }
    let proportions = |bound: fn(&Claim) -> f64| claims.iter().map(move |c| bound(c) / c.positive_target());
    if sum == 0.0 {
        return Ok(Allocation { shares: vec![0.0; claims.len()], proportion: 0.0 });
    }
    if sum - lower <= EPSILON {
        let proportion = proportions(|claim| claim.lower).fold(f64::INFINITY, f64::min);
        return Ok(Allocation { shares: claims.iter().map(|claim| claim.lower).collect(), proportion });
    }
    if upper - sum <= EPSILON {
        let proportion = proportions(|claim| claim.upper).fold(0.0, f64::max);
        return Ok(Allocation { shares: claims.iter().map(|claim| claim.upper).collect(), proportion });
    }
    let proportion = sweep(sum, lower, claims);
    let share = |claim: &Claim| (proportion * claim.positive_target()).clamp(claim.lower, claim.upper);
    Ok(Allocation { shares: claims.iter().map(share).collect(), proportion })
}

impl Claim {
    fn positive_target(&self) -> f64 {
        self.target.max(TARGET_MIN)
    }
}

fn check(sum: f64, claims: &[Claim]) -> Result<(), Error> {
    if sum < 0.0 {
        return Err(Error::NegativeSum(sum));
    }
    for (index, claim) in claims.iter().enumerate() {
        if claim.lower < 0.0 {
            return Err(Error::NegativeLower(index));
        }
        if claim.target < claim.lower {
            return Err(Error::TargetBelowLower(index));
        }
        if claim.upper < claim.lower {
            return Err(Error::UpperBelowLower(index));
        }
    }
    Ok(())
}

/// Walks up the proportions at which some claim leaves its lower bound or meets its upper one: in
/// between, the sum of shares is linear.
fn sweep(sum: f64, lower: f64, claims: &[Claim]) -> f64 {
    let mut knots = smallvec::SmallVec::<[(f64, f64); 32]>::new();
    for claim in claims {
        let target = claim.positive_target();
        knots.push((claim.lower / target, target));
        knots.push((claim.upper / target, -target));
    }
    knots.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut shared, mut slope, mut at) = (lower, 0.0, 0.0);
    for (knot, change) in knots {
        let next = shared + slope * (knot - at);
        if next >= sum {
            break;
        }
        (shared, at) = (next, knot);
        slope += change;
    }
    if slope > 0.0 { at + (sum - shared) / slope } else { at }
}
