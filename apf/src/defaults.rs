//! Defaulting: what an absent field of an object means.

use crate::object::{ExemptLevel, FlowSchema, PriorityLevel, PriorityLevelSpec};

/// Precedence of a schema that gives none.
pub const PRECEDENCE: i32 = 1000;
/// Queues of a queuing level that gives none.
pub const QUEUES: i32 = 64;
/// Queues dealt to each flow when the level does not say.
pub const HAND_SIZE: i32 = 8;
/// Most requests waiting in a queue when the level does not say.
pub const QUEUE_LENGTH_LIMIT: i32 = 50;
/// Shares of a limited level that gives none.
pub const SHARES: i32 = 30;
/// Percent of its seats that a level lends when it does not say.
pub const LENDABLE_PERCENT: i32 = 0;

/// Fills the absent fields of a schema.
pub fn flow_schema(schema: &mut FlowSchema) {
    if schema.spec.matching_precedence == 0 {
        schema.spec.matching_precedence = PRECEDENCE;
    }
}

/// Fills the absent fields of a level.
pub fn priority_level(level: &mut PriorityLevel) {
    priority_level_spec(&mut level.spec);
}

/// Fills the absent fields of a level's spec.
pub fn priority_level_spec(spec: &mut PriorityLevelSpec) {
    if spec.kind == "Exempt" && spec.limited.is_none() {
        spec.exempt.get_or_insert_with(ExemptLevel::default);
    }
    if let Some(exempt) = &mut spec.exempt {
        exempt.nominal_concurrency_shares.get_or_insert(0);
        exempt.lendable_percent.get_or_insert(LENDABLE_PERCENT);
    }
    let Some(limited) = &mut spec.limited else { return };
    limited.nominal_concurrency_shares.get_or_insert(SHARES);
    limited.lendable_percent.get_or_insert(LENDABLE_PERCENT);
    if let Some(queuing) = &mut limited.limit_response.queuing {
        for (field, value) in [
            (&mut queuing.queues, QUEUES),
            (&mut queuing.hand_size, HAND_SIZE),
            (&mut queuing.queue_length_limit, QUEUE_LENGTH_LIMIT),
        ] {
            if *field == 0 {
                *field = value;
            }
        }
    }
}
