//! What a server decides about its flow control.

use crate::adaptive::Adaptive;
use crate::behaviour::Behaviour;
use crate::estimate::Gates;
use crate::{limits, wait};
use std::time::Duration;

/// What a server decides about its flow control.
///
/// ```
/// use seaway_apf::Settings;
/// use std::time::Duration;
///
/// let settings = Settings::default().seats(20).max_wait(Duration::from_secs(2));
/// assert_eq!(settings.server_seats, 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Seats of the whole server; at least 1.
    pub server_seats: u32,
    /// Where to do better than the reference.
    pub behaviour: Behaviour,
    /// Which estimates are on.
    pub gates: Gates,
    /// How long a request without a deadline may wait, where its level does not say.
    pub max_wait: Duration,
    /// Whether the seats follow the server, and how.
    pub adaptive: Option<Adaptive>,
}

impl Settings {
    /// With this many seats for the whole server: how many requests it executes at once.
    #[must_use]
    pub const fn seats(self, server_seats: u32) -> Self {
        Self { server_seats, ..self }
    }

    /// With these deviations from the reference.
    #[must_use]
    pub const fn behaviour(self, behaviour: Behaviour) -> Self {
        Self { behaviour, ..self }
    }

    /// With these estimates.
    #[must_use]
    pub const fn gates(self, gates: Gates) -> Self {
        Self { gates, ..self }
    }

    /// With this longest wait of a request without a deadline.
    #[must_use]
    pub const fn max_wait(self, max_wait: Duration) -> Self {
        Self { max_wait, ..self }
    }

    /// With seats that follow the server, from [`Settings::server_seats`] on.
    #[must_use]
    pub const fn adaptive(self, adaptive: Adaptive) -> Self {
        Self { adaptive: Some(adaptive), ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_seats: limits::SEATS_READING + limits::SEATS_MUTATING,
            behaviour: Behaviour::default(),
            gates: Gates::default(),
            max_wait: Duration::from_nanos(wait::DEFAULT_NS),
            adaptive: None,
        }
    }
}
