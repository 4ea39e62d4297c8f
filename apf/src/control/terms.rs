//! What a caller says about a request beside who asks and what for.

use crate::seats::Work;
use std::time::{Duration, Instant};

/// What a caller says about a request beside who asks and what for. Everything is optional.
///
/// A number stands for terms with this many seats:
///
/// ```
/// use seaway_apf::control::Terms;
/// use std::time::Duration;
///
/// let wide = Terms::from(4);
/// let patient = Terms::default().cost(4).weight(2).max_wait(Duration::from_secs(1));
/// assert_eq!(wide.cost, patient.cost);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// What it costs, instead of the library's own estimate.
    pub cost: Option<Work>,
    /// Weight of its flow within the level, instead of its schema's.
    pub weight: Option<u32>,
    /// How long it may wait, instead of what its level, the settings and the deadline say.
    pub max_wait: Option<Duration>,
    /// When its first byte came in, if that was earlier.
    pub received: Option<Instant>,
    /// When its reply is worth nothing any more. It may wait a quarter of the time until then.
    pub deadline: Option<Instant>,
}

impl Terms {
    /// It costs this much: a number of seats, or [`Work`].
    #[must_use]
    pub fn cost(self, cost: impl Into<Work>) -> Self {
        Self { cost: Some(cost.into()), ..self }
    }

    /// Its flow has this weight, from 1 to [`WEIGHT_MAX`](crate::annotations::WEIGHT_MAX).
    #[must_use]
    pub const fn weight(self, weight: u32) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// It waits no longer than this.
    #[must_use]
    pub const fn max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait: Some(max_wait), ..self }
    }

    /// Its first byte came in then: waiting counts from there.
    #[must_use]
    pub const fn received(self, received: Instant) -> Self {
        Self { received: Some(received), ..self }
    }

    /// Its reply is worth nothing after this.
    #[must_use]
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

impl From<Work> for Terms {
    fn from(cost: Work) -> Self {
        Self::default().cost(cost)
    }
}

impl From<u32> for Terms {
    fn from(seats: u32) -> Self {
        Self::default().cost(seats)
    }
}
