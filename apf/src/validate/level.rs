//! The rules for a PriorityLevelConfiguration.

use super::{Class, FieldError, Options, conditions, error, object_name};
use crate::annotations;
use crate::builtin;
use crate::deal::Dealer;
use crate::object::{ExemptLevel, LimitResponse, LimitedLevel, PriorityLevel, PriorityLevelSpec, Queuing};
use crate::read::PRESERVE_ZERO;

/// The most queues of a level.
pub const QUEUES_MAX: i32 = 10_000_000;

/// Every broken rule of a level.
#[must_use]
pub fn priority_level(level: &PriorityLevel, options: Options) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, own_name) = (&level.spec, level.metadata.name.as_str());
    object_name(own_name, &mut errors);
    if level.metadata.annotations.contains_key(PRESERVE_ZERO) {
        let message = format!("{PRESERVE_ZERO} is only for v1beta3 objects");
        errors.push(error("metadata.annotations", Class::Forbidden, message));
    }
    if let Err(message) = annotations::max_wait(&level.metadata) {
        errors.push(error(
            format!("metadata.annotations[{}]", annotations::MAX_WAIT),
            Class::Invalid,
            message,
        ));
    }
    if let Err(message) = annotations::shadow(&level.metadata) {
        errors.push(error(format!("metadata.annotations[{}]", annotations::SHADOW), Class::Invalid, message));
    }
    if changes_builtin(own_name, spec) {
        errors.push(error("spec", Class::Invalid, format!("{own_name} must keep its built-in spec")));
    }
    let is_exempt = spec.kind == "Exempt";
    if (own_name == builtin::EXEMPT) != is_exempt && matches!(spec.kind.as_str(), "Exempt" | "Limited") {
        let message = "Exempt is the type of the level named exempt, and of no other";
        errors.push(error("spec.type", Class::Invalid, message));
    }
    match (spec.kind.as_str(), &spec.limited, &spec.exempt) {
        ("Exempt", limited, exempt) => {
            if limited.is_some() {
                errors.push(error("spec.limited", Class::Forbidden, "type Exempt forbids it"));
            }
            exempt.iter().for_each(|exempt| exempt_level(exempt, &mut errors));
        }
        ("Limited", limited, exempt) => {
            if exempt.is_some() {
                errors.push(error("spec.exempt", Class::Forbidden, "type Limited forbids it"));
            }
            match limited {
                Some(limited) => limited_level(limited, options, &mut errors),
                None => errors.push(error("spec.limited", Class::Required, "type Limited needs it")),
            }
        }
        _ => errors.push(error("spec.type", Class::NotSupported, "use Exempt or Limited")),
    }
    conditions(&level.status, &mut errors);
    errors
}

fn changes_builtin(name: &str, spec: &PriorityLevelSpec) -> bool {
    let Some(builtin) = builtin::mandatory_level(name) else { return false };
    let mut given = spec.clone();
    crate::defaults::priority_level_spec(&mut given);
    if name == builtin::EXEMPT && given.exempt.is_some() {
        given.exempt.clone_from(&builtin.spec.exempt);
    }
    given != builtin.spec
}

fn exempt_level(exempt: &ExemptLevel, errors: &mut Vec<FieldError>) {
    if exempt.nominal_concurrency_shares.is_some_and(|shares| shares < 0) {
        let field = "spec.exempt.nominalConcurrencyShares";
        errors.push(error(field, Class::Invalid, "must not be negative"));
    }
    percent(exempt.lendable_percent, "spec.exempt.lendablePercent", errors);
}

fn limited_level(limited: &LimitedLevel, options: Options, errors: &mut Vec<FieldError>) {
    let shares = limited.nominal_concurrency_shares.unwrap_or(crate::defaults::SHARES);
    if shares < 0 || shares == 0 && !options.zero_shares {
        let message = if options.zero_shares { "must not be negative" } else { "must be positive" };
        errors.push(error("spec.limited.nominalConcurrencyShares", Class::Invalid, message));
    }
    percent(limited.lendable_percent, "spec.limited.lendablePercent", errors);
    if limited.borrowing_limit_percent.is_some_and(|limit| limit < 0) {
        let field = "spec.limited.borrowingLimitPercent";
        errors.push(error(field, Class::Invalid, "must not be negative"));
    }
    limit_response(&limited.limit_response, errors);
}

fn limit_response(response: &LimitResponse, errors: &mut Vec<FieldError>) {
    let field = "spec.limited.limitResponse.queuing";
    match (response.kind.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => errors.push(error(field, Class::Forbidden, "type Reject forbids it")),
        ("Queue", None) => errors.push(error(field, Class::Required, "type Queue needs it")),
        ("Queue", Some(given)) => queuing(given, field, errors),
        _ => {
            let field = "spec.limited.limitResponse.type";
            errors.push(error(field, Class::NotSupported, "use Queue or Reject"));
        }
    }
}

fn queuing(queuing: &Queuing, path: &str, errors: &mut Vec<FieldError>) {
    if queuing.queue_length_limit <= 0 {
        errors.push(error(format!("{path}.queueLengthLimit"), Class::Invalid, "must be positive"));
    }
    if queuing.queues <= 0 {
        errors.push(error(format!("{path}.queues"), Class::Invalid, "must be positive"));
    } else if queuing.queues > QUEUES_MAX {
        errors.push(error(format!("{path}.queues"), Class::Invalid, format!("must be at most {QUEUES_MAX}")));
    }
    let (queues, hand) = (i64::from(queuing.queues), i64::from(queuing.hand_size));
    let problem = if hand <= 0 {
        Some("must be positive".to_owned())
    } else if hand > queues {
        Some(format!("must be at most the number of queues, {queues}"))
    } else {
        let bits = Dealer::entropy_bits(queues, hand);
        (bits > Dealer::ENTROPY_BITS_MAX).then(|| {
            format!("needs {bits} bits of hash for {queues} queues, {} are there", Dealer::ENTROPY_BITS_MAX)
        })
    };
    if let Some(message) = problem {
        errors.push(error(format!("{path}.handSize"), Class::Invalid, message));
    }
}

fn percent(value: Option<i32>, field: &str, errors: &mut Vec<FieldError>) {
    if value.is_some_and(|percent| !(0..=100).contains(&percent)) {
        errors.push(error(field, Class::Invalid, "must be between 0 and 100"));
    }
}
