//! Queries for everything that is not ours, asked of other servers.
//!
//! A query goes to one upstream and, if that takes longer than its answers mostly do, to the next
//! as well: the first good answer counts. An upstream that fails is probed until it answers again,
//! and meanwhile comes last.

mod connection;
mod encrypted;
mod exchange;
mod options;
mod upstream;

pub use options::{ForwardOptions, IDLE_MAX, Policy, Probe, Target};
pub use upstream::Upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::metrics::Metrics;
use crate::name::Name;
use crate::wire::relay::{Mismatch, Relayed};
use crate::wire::writer::Transport;

/// The most upstreams of one forwarder.
pub const UPSTREAMS_MAX: usize = 15;
/// A query is given up after this long altogether.
const DEADLINE: Duration = Duration::from_secs(5);

/// A forwarder at work.
#[derive(Debug)]
pub struct Forward {
    /// Its configuration.
    pub options: Arc<ForwardOptions>,
    upstreams: Vec<Arc<Upstream>>,
    turn: AtomicUsize,
    running: AtomicUsize,
    /// Queries that found all upstreams down.
    broken: Arc<AtomicU64>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many queries wait already.
    #[error("more queries wait for upstreams than max_concurrent allows")]
    Crowded,
    /// An upstream answered another question.
    #[error("the upstream's answer is to another question")]
    Question,
    /// No upstream answered in time.
    #[error("no upstream gave an answer in time")]
    Unreachable,
    /// All upstreams are down, and `failfast_all_unhealthy_upstreams` is set.
    #[error("all upstreams are down")]
    Down,
}

impl Forward {
    /// A forwarder that takes all upstreams for sound.
    pub fn new(options: ForwardOptions) -> Self {
        let upstreams =
            options.upstreams.iter().cloned().map(|target| Arc::new(Upstream::new(target))).collect();
        Self {
            options: Arc::new(options),
            upstreams,
            turn: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            broken: Arc::default(),
        }
    }

    /// From now on it counts where others count as well.
    pub(crate) fn count_at(&mut self, metrics: &Metrics) {
        self.broken = Arc::clone(&metrics.broken);
        for upstream in self.upstreams.iter_mut().filter_map(Arc::get_mut) {
            upstream.tally = metrics.proxy(upstream.target.address);
        }
    }

    /// Whether a name is to be asked for here.
    pub fn takes(&self, name: &Name<'_>) -> bool {
        name.is_within(&self.options.zone) && !self.options.except.iter().any(|zone| name.is_within(zone))
    }

    /// The upstreams, as they are written down.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Asks for what a query asks for. `message` is a whole query, whose identifier is replaced.
    ///
    /// # Errors
    /// If nobody answers, or nobody is asked.
    pub async fn ask(&self, message: &[u8], transport: Transport) -> Result<Relayed, Failure> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        let _guard = Running(&self.running);
        if self.options.concurrent_max > 0 && running >= self.options.concurrent_max {
            return Err(Failure::Crowded);
        }
        let mut order = self.order()?;
        if self.options.attempts_max > 0 {
            order.truncate(self.options.attempts_max);
        }
        let stream = self.options.force_tcp || (transport == Transport::Tcp && !self.options.prefer_udp);
        let transport = if stream { Transport::Tcp } else { Transport::Udp };
        let deadline = Instant::now() + DEADLINE;
        let mut attempts = JoinSet::new();
        let (mut refused, mut last) = (None, Failure::Unreachable);
        for upstream in order {
            let patience = upstream.patience();
            attempts.spawn(attempt(upstream, message.to_vec(), transport, Arc::clone(&self.options)));
            let patience = patience.min(self.options.read_timeout);
            match timeout(patience, attempts.join_next()).await {
                Ok(Some(Ok(Ok(answer)))) if !self.options.failover.contains(&answer.rcode()) => {
                    return Ok(answer);
                }
                Ok(Some(Ok(Ok(answer)))) => refused = Some(answer),
                Ok(Some(Ok(Err(failure)))) => last = failure,
                _ => {}
            }
            // It failed, or it is slow: the next one is asked.
        }
        while let Ok(Some(done)) = timeout_at(deadline, attempts.join_next()).await {
            match done {
                Ok(Ok(answer)) if !self.options.failover.contains(&answer.rcode()) => return Ok(answer),
                Ok(Ok(answer)) => refused = Some(answer),
                Ok(Err(failure)) => last = failure,
                Err(_) => {}
            }
        }
        // Nobody gave a better answer than one with a code of `failover`.
        refused.ok_or(last)
    }

    /// The upstreams in the order of the policy, those that are down last.
    fn order(&self) -> Result<Vec<Arc<Upstream>>, Failure> {
        let count = self.upstreams.len().max(1);
        let start = match self.options.policy {
            Policy::Sequential => 0,
            Policy::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed),
            Policy::Random => exchange::random() as usize,
        } % count;
        let (before, after) = self.upstreams.split_at(start);
        let mut order: Vec<_> = after.iter().chain(before).cloned().collect();
        order.sort_by_key(|upstream| upstream.is_down(self.options.fails_max));
        let all_down = order.first().is_none_or(|upstream| upstream.is_down(self.options.fails_max));
        if all_down {
            self.broken.fetch_add(1, Ordering::Relaxed);
        }
        if all_down && self.options.failfast { Err(Failure::Down) } else { Ok(order) }
    }
}

async fn attempt(
    upstream: Arc<Upstream>,
    message: Vec<u8>,
    transport: Transport,
    options: Arc<ForwardOptions>,
) -> Result<Relayed, Failure> {
    let begun = Instant::now();
    let exchanged =
        timeout(options.read_timeout, exchange::ask(&upstream, &message, transport, &options)).await;
    if let Ok(Err(error)) = &exchanged
        && error.get_ref().and_then(|error| error.downcast_ref()) == Some(&Mismatch::Question)
    {
        // It is there, but what it says is of no use, and asking again would not change that.
        return Err(Failure::Question);
    }
    if let Ok(Ok(answer)) = exchanged {
        upstream.answered(answer.rcode(), begun.elapsed());
        // With `prefer_udp`, what does not fit is asked for again.
        if answer.is_truncated() && options.prefer_udp && transport == Transport::Udp {
            let again = exchange::ask(&upstream, &message, Transport::Tcp, &options);
            return match timeout(options.read_timeout, again).await {
                Ok(Ok(whole)) => Ok(whole),
                _ => Ok(answer),
            };
        }
        return Ok(answer);
    }
    upstream.failed(&options);
    Err(Failure::Unreachable)
}

struct Running<'f>(&'f AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
