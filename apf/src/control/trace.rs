//! A `tracing` event for each request: what it waited for its seats, or why it was refused.

use super::Permit;
use crate::refusal::Refusal;
use crate::request::Attributes;
use tokio::time::Instant;

/// Adds the event to the span that the request is in, at level DEBUG.
pub(super) fn outcome(attributes: &Attributes, outcome: &Result<Permit, Refusal>, arrived: Instant) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let waited_us = u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (user, namespace) = (attributes.user.as_str(), attributes.request.namespace.as_str());
    match outcome {
        Ok(permit) => {
            let (names, seats) = (permit.names(), permit.work().width());
            let (schema, level) = (&*names.schema, &*names.level);
            tracing::debug!(schema, level, user, namespace, seats, waited_us, "request starts");
        }
        Err(refusal) => {
            let (schema, level) = (&*refusal.names.schema, &*refusal.names.level);
            let reason = refusal.reason.as_str();
            tracing::debug!(schema, level, user, namespace, reason, waited_us, "request refused");
        }
    }
}
