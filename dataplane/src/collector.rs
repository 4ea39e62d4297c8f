//! Forgetting flows that were idle for too long, on a thread of its own.
//!
//! Entries are read and removed a batch at a time. The programs count time in kernel ticks, which
//! user space cannot read: the newest entry that was ever seen, plus the time that passed since, is
//! never later than now, so nothing is forgotten too early.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use seaway_common::{Config, FlowKey, FlowValue, flow_timeout_s};

use crate::kernel_maps::KernelMaps;
use crate::maps::{Error, Maps};

/// How often all flows are looked at.
pub const EVERY: Duration = Duration::from_secs(10);

/// A clock in kernel ticks that is never ahead.
#[derive(Clone, Debug)]
pub struct Ticks {
    per_s: u32,
    newest: u64,
    at: Instant,
}

impl Ticks {
    /// Of a kernel with so many ticks a second.
    pub fn new(per_s: u32, now: Instant) -> Self {
        Self { per_s: per_s.max(1), newest: 0, at: now }
    }

    /// Takes note of an entry's time.
    pub fn note(&mut self, last_seen: u64, now: Instant) {
        if last_seen > self.now(now) {
            (self.newest, self.at) = (last_seen, now);
        }
    }

    /// The time by this clock.
    pub fn now(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis() * u128::from(self.per_s) / 1000;
        self.newest.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Whether an entry was idle for longer than its state allows.
    pub fn expired(&self, key: &FlowKey, value: &FlowValue, config: &Config, now: Instant) -> bool {
        let idle = self.now(now).saturating_sub(value.last_seen);
        idle > u64::from(flow_timeout_s(config, key.proto, value.state)) * u64::from(self.per_s)
    }
}

/// Starts the thread. It works on the pinned maps in `folder` until the process ends, and says how
/// long each look took and how many entries it forgot.
///
/// # Errors
/// [`Error`] when they cannot be opened.
pub fn start(
    folder: &Path,
    ticks_per_s: u32,
    looked: impl Fn(Duration, usize) + Send + 'static,
) -> Result<(), Error> {
    let mut maps = KernelMaps::open(folder)?;
    let work = move || {
        let mut ticks = Ticks::new(ticks_per_s, Instant::now());
        loop {
            thread::sleep(EVERY);
            let started = Instant::now();
            match maps.config().and_then(|config| maps.expire_flows(&config, &mut ticks)) {
                Ok(entries) => {
                    looked(started.elapsed(), entries);
                    tracing::trace!(entries, took = ?started.elapsed(), "forgot flows that were idle");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "idle flows were not all forgotten; it will be tried again");
                }
            }
        }
    };
    let thread = thread::Builder::new().name("flows".into()).spawn(work);
    thread.map(drop).map_err(|source| Error { map: "FLOWS_V4", operation: "collect", source })
}

#[cfg(test)]
mod tests {
    use seaway_common::{FLOW_ESTABLISHED, FLOW_REPLIED, FLOW_RESET, FlowValue, proto};

    use super::*;

    fn check(proto: u8, state: u16, idle_s: u64, expected: bool) {
        let start = Instant::now();
        let mut ticks = Ticks::new(250, start);
        ticks.note(1_000_000, start);
        let key = FlowKey { proto, ..FlowKey::default() };
        let value = FlowValue { state, last_seen: 1_000_000, ..FlowValue::default() };
        let now = start + Duration::from_secs(idle_s);
        assert_eq!(ticks.expired(&key, &value, &Config::new(), now), expected, "{proto} {state} {idle_s}");
    }

    #[test]
    fn a_flow_is_forgotten_by_its_state() {
        check(proto::TCP, 0, 60, false);
        check(proto::TCP, 0, 61, true);
        check(proto::TCP, FLOW_REPLIED, 61, true);
        check(proto::TCP, FLOW_REPLIED | FLOW_ESTABLISHED, 24 * 3600, false);
        check(proto::TCP, FLOW_ESTABLISHED | FLOW_RESET, 11, true);
        check(proto::UDP, 0, 61, true);
        check(proto::UDP, FLOW_ESTABLISHED, 120, false);
        check(proto::SCTP, FLOW_ESTABLISHED, 121, true);
    }

    #[test]
    fn the_clock_is_never_ahead_and_goes_on_without_packets() {
        let start = Instant::now();
        let mut ticks = Ticks::new(250, start);
        ticks.note(500, start);
        ticks.note(400, start);
        assert_eq!(ticks.now(start), 500);
        assert_eq!(ticks.now(start + Duration::from_secs(2)), 1000);
        ticks.note(1100, start + Duration::from_secs(2));
        assert_eq!(ticks.now(start + Duration::from_secs(2)), 1100);
    }
}
