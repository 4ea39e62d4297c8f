//! Benchmarks, side by side with the peers.

#![forbid(unsafe_code)]
