//! The name forms of RFC 1123 as the Kubernetes API applies them.

/// What to say about a name that is no subdomain.
pub(super) const SUBDOMAIN: &str =
    "must be a DNS subdomain: lower-case letters, digits, '-' and '.', at most 253 characters";
/// What to say about a name that is no label.
pub(super) const LABEL: &str =
    "must be a DNS label: lower-case letters, digits and '-', at most 63 characters";

/// Whether this is one label: letters, digits and inner dashes, at most 63.
pub(super) fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_part(name)
}

/// Whether this is dot-separated labels of at most 253 characters in all.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_part(part: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}
