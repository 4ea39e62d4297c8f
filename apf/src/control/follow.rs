//! The total of seats that follows the server, driven by what permits measure.

use super::Shared;
use crate::adaptive::{Sample, Total};
use crate::lock::Mutex;
use crate::settings::Settings;
use std::sync::atomic::{AtomicU32, Ordering};

/// The total, and the seats taken in all levels.
#[derive(Debug)]
pub(super) struct Follow {
    total: Mutex<Total>,
    in_use: AtomicU32,
}

impl Follow {
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let total = Total::new(settings.adaptive?, settings.server_seats);
        Some(Self { total: Mutex::new(total), in_use: AtomicU32::new(0) })
    }

    pub(super) fn seats(&self) -> u32 {
        self.total.lock().seats()
    }
}

impl Shared {
    /// A request starts to execute.
    #[inline]
    pub(super) fn took(&self, seats: u32) {
        if let Some(follow) = &self.follow {
            follow.in_use.fetch_add(seats, Ordering::Relaxed);
        }
    }

    /// A request that executed has ended.
    #[inline]
    pub(super) fn gave_back(&self, seats: u32, started_ns: u64, now_ns: u64) {
        let Some(follow) = &self.follow else { return };
        let seats_in_use = follow.in_use.fetch_sub(seats, Ordering::Relaxed);
        let latency_ns = now_ns.saturating_sub(started_ns);
        let new = follow.total.lock().sample(Sample { now_ns, latency_ns, seats_in_use });
        if let Some(seats) = new {
            self.engine.set_seats(now_ns, seats);
        }
    }
}
