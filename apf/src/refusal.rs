//! A request that is refused.

use crate::engine::Names;
use crate::queueset::Reason;
use std::fmt;

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When to come back, in seconds.
    pub retry_after_s: u64,
    /// How it was classified.
    pub names: Names,
}

impl Refusal {
    pub(crate) const fn new(reason: Reason, retry_after_s: u64, names: Names) -> Self {
        Self { reason, retry_after_s, names }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, retry_after_s, names } = self;
        let why = match reason {
            Reason::QueueFull => "its queue is full",
            Reason::ConcurrencyLimit => "all seats are taken",
            Reason::TimeOut => "it waited too long for a seat",
            Reason::ShuttingDown => "the server is shutting down",
        };
        write!(f, "request refused in priority level {:?}: {why}; retry after {retry_after_s} s", names.level)
    }
}

impl std::error::Error for Refusal {}
