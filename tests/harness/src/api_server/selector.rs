//! The few selectors that the agent sends.

use serde_json::Value;

/// Whether an object is selected by a label selector and a field selector.
pub(super) fn selects(object: &Value, labels: Option<&str>, fields: Option<&str>) -> bool {
    labels.is_none_or(|selector| has_labels(object, selector))
        && fields.is_none_or(|selector| has_fields(object, selector))
}

fn has_labels(object: &Value, selector: &str) -> bool {
    let absent = selector.strip_prefix('!').unwrap_or_else(|| panic!("label selector {selector:?}"));
    object["metadata"]["labels"].get(absent).is_none()
}

fn has_fields(object: &Value, selector: &str) -> bool {
    let (field, value, equal) = match selector.split_once("!=") {
        Some((field, value)) => (field, value, false),
        None => {
            let parts = selector.split_once('=');
            let (field, value) = parts.unwrap_or_else(|| panic!("field selector {selector:?}"));
            (field, value, true)
        }
    };
    let found = field.split('.').try_fold(object, |object, key| object.get(key));
    (found.and_then(Value::as_str).unwrap_or_default() == value) == equal
}
