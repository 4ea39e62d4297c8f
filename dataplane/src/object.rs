//! The compiled kernel programs, embedded.

/// The load balancer's programs; built from `ebpf/` by `cargo xtask ebpf`.
pub static SEAWAY: &[u8] = aya::include_bytes_aligned!("../object/seaway.bpf.o");

/// The benchmarks' packet feeder.
pub static FEED: &[u8] = aya::include_bytes_aligned!("../object/feed.bpf.o");
