//! Tests across crates: scripts, packets, namespaces.

#![forbid(unsafe_code)]
