//! One upstream: how fast it mostly answers, and whether it answers at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::connection::Idle;
use super::exchange;
use super::options::{ForwardOptions, Target};
use crate::metrics::ProxyTally;
use crate::wire::writer::Transport;

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// What an upstream is thought to need before it has answered once.
const FIRST_US: u32 = 250_000;
/// Impatience below this would ask two upstreams for what one was about to answer.
const PATIENCE_MIN_US: u32 = 20_000;
/// The 95th percentile moves up by this share on every slower answer and down by a nineteenth of
/// it on every faster one, so that it rests where one in twenty is slower.
const STEP_SHARE: u32 = 16;
const FASTER_FOR_SLOWER: u32 = 19;

/// An upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Where it is.
    pub target: Target,
    pub(super) tally: Arc<ProxyTally>,
    pub(super) idle: Idle,
    fails: AtomicU32,
    probed: AtomicBool,
    p95_us: AtomicU32,
}

impl Upstream {
    /// An upstream that is taken for sound.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            tally: Arc::default(),
            idle: Idle::default(),
            fails: AtomicU32::new(0),
            probed: AtomicBool::new(false),
            p95_us: AtomicU32::new(FIRST_US),
        }
    }

    /// How long it may take before somebody else is asked too: its 95th percentile.
    pub fn patience(&self) -> Duration {
        Duration::from_micros(u64::from(self.p95_us.load(Ordering::Relaxed).max(PATIENCE_MIN_US)))
    }

    /// Whether more than `fails_max` probes in a row failed.
    pub fn is_down(&self, fails_max: u32) -> bool {
        fails_max > 0 && self.fails.load(Ordering::Relaxed) > fails_max
    }

    pub(super) fn answered(&self, rcode: u16, after: Duration) {
        self.tally.answered(rcode, after);
        let us = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        let p95 = self.p95_us.load(Ordering::Relaxed);
        let step = (p95 / STEP_SHARE).max(FASTER_FOR_SLOWER);
        let moved =
            if us > p95 { p95.saturating_add(step) } else { p95 - (step / FASTER_FOR_SLOWER).min(p95) };
        // Two answers at once may lose one of their steps; it is an estimate.
        self.p95_us.store(moved, Ordering::Relaxed);
    }

    /// Notes a failed query: it is probed until it answers again.
    pub(super) fn failed(self: &Arc<Self>, options: &Arc<ForwardOptions>) {
        if self.probed.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, options) = (Arc::downgrade(self), Arc::clone(options));
        let transport = if options.force_tcp { Transport::Tcp } else { Transport::Udp };
        tokio::spawn(async move {
            let message = exchange::probe(&options);
            // Once nobody holds the upstream any more, it is of no interest.
            while let Some(upstream) = this.upgrade() {
                let probe = exchange::ask(&upstream, &message, transport, &options);
                if matches!(timeout(PROBE_TIMEOUT, probe).await, Ok(Ok(_))) {
                    upstream.fails.store(0, Ordering::Relaxed);
                    upstream.probed.store(false, Ordering::Release);
                    return;
                }
                upstream.fails.fetch_add(1, Ordering::Relaxed);
                upstream.tally.probe_failed();
                drop(upstream);
                sleep(options.probe.interval).await;
            }
        });
    }
}
