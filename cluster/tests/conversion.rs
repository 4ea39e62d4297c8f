//! Objects as people write them, and the facts or warnings that come of them.

#[path = "conversion/objects.rs"]
mod objects;
#[path = "conversion/services.rs"]
mod services;

use seaway_cluster::Snapshot;

/// The snapshot of a text, which must give exactly these warnings.
fn read(text: &str, warnings: &[&str]) -> Snapshot {
    let (snapshot, found) = Snapshot::from_manifests(text);
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, warnings, "{text}");
    snapshot
}

/// A text of which nothing remains but the warnings.
fn check_left_out(text: &str, warnings: &[&str]) {
    let snapshot = read(text, warnings);
    assert!(snapshot.is_empty(), "{text}: {snapshot:?}");
}
