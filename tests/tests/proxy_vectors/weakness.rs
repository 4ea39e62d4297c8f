//! Where kube-proxy shows a weakness rather than a rule: what is right instead, and why.
//!
//! A case differs only if it is one of these kinds by its input, and if what is found is exactly
//! what is right. The cases known when this was written are listed; one of the same kind in another
//! file is judged alike, and is printed.

use std::collections::BTreeMap;

use seaway_tests::data;

use super::Verdict;
use super::slices::{Outcome, SliceCase};

/// One kind of weakness.
pub(super) struct Weakness {
    /// The cases of it in the repository's copies.
    known: &'static [&'static str],
    reason: &'static str,
    /// What is right, if the case is of this kind: from the case, and what the slices that are left
    /// come to on their own.
    right: fn(&SliceCase, &Outcome) -> Option<Outcome>,
}

/// All kinds.
pub(super) const WEAKNESSES: [Weakness; 2] = [
    Weakness {
        known: &["addr-invalid"],
        reason: "kube-proxy keeps an address that does not parse as <nil>, and counts it as ready; \
                 nothing can be sent there",
        right: |case, _| without_nil(case),
    },
    Weakness {
        known: &["step-delete-unlabelled", "step-label-removed"],
        reason: "kube-proxy keeps the endpoints of a slice that was deleted, or whose label changed, \
                 if the last version does not carry the label of before; the slice is not there",
        right: |case, left| case.moves_between_services().then(|| left.clone()),
    },
];

/// What a case that did not come out as the reference's does is: a listed difference, or a failure.
pub(super) fn judge(case: &SliceCase, found: &Outcome, left: &Outcome) -> Verdict {
    for weakness in &WEAKNESSES {
        if (weakness.right)(case, left).is_some_and(|right| right == *found) {
            return Verdict::Differs(weakness.reason);
        }
    }
    Verdict::Failed(format!("expected {:#?}, found {found:#?}", case.expected))
}

/// The expected outcome without what does not parse.
fn without_nil(case: &SliceCase) -> Option<Outcome> {
    let expected = case.expected.as_ref()?;
    let is_nil = |address: &str| address.starts_with("<nil>");
    let nil = expected.values().flatten().filter(|entry| is_nil(&entry.address));
    // All addresses that do not parse are one to kube-proxy.
    let mut counted: BTreeMap<String, bool> = BTreeMap::new();
    for (key, entries) in expected {
        let service = key.split(':').next().unwrap_or(key).to_owned();
        let ready = entries.iter().any(|entry| is_nil(&entry.address) && entry.ready && entry.local);
        *counted.entry(service).or_default() |= ready;
    }
    nil.count().checked_sub(1)?;
    let mut right = Outcome { expected: expected.clone(), local_ready: case.local_ready.clone()? };
    right.expected.values_mut().for_each(|entries| entries.retain(|entry| !is_nil(&entry.address)));
    right.expected.retain(|_, entries| !entries.is_empty());
    for (service, _) in counted.into_iter().filter(|(_, counted)| *counted) {
        if let Some(count) = right.local_ready.get_mut(&service) {
            *count = count.saturating_sub(1);
        }
    }
    right.local_ready.retain(|_, count| *count > 0);
    Some(right)
}

#[test]
fn the_known_weaknesses_are_still_in_the_copies() {
    let path = data::path("dataplane/endpoints-from-slices.json");
    let text = std::fs::read_to_string(path).expect("the copy");
    for id in WEAKNESSES.iter().flat_map(|weakness| weakness.known) {
        assert!(text.contains(&format!("\"id\":\"{id}\"")), "{id} is listed and is no case");
    }
}
