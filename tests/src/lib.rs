//! Tests across crates: scripts, packets, namespaces.
