//! Counts of one upstream, which outlive reloads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{DURATIONS, Distribution, RCODES, duration_place};

/// How an upstream is asked, as labels spell it.
pub(super) const PROTOCOLS: [&str; 3] = ["udp", "tcp", "tcp-tls"];

/// Counts of an upstream.
#[derive(Debug, Default)]
pub struct ProxyTally {
    /// How long answers took, by their code.
    pub(super) durations: [Distribution<DURATIONS>; RCODES.len()],
    /// Queries over a connection that had waited, by protocol.
    pub(super) reused: [AtomicU64; PROTOCOLS.len()],
    /// Connections that were opened, by protocol.
    pub(super) opened: [AtomicU64; PROTOCOLS.len()],
    /// Probes that failed.
    pub(super) failures: AtomicU64,
}

/// How a query went to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a datagram.
    Udp,
    /// Over a stream.
    Tcp,
    /// Encrypted, over whatever.
    Encrypted,
}

impl ProxyTally {
    pub(crate) fn answered(&self, rcode: u16, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.durations[usize::from(rcode).min(RCODES.len() - 1)].add(duration_place(us), us);
    }

    pub(crate) fn opened(&self, way: Way) {
        self.opened[way as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reused(&self, way: Way) {
        self.reused[way as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn probe_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}
