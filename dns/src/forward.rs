//! Queries for everything that is not ours, asked of other servers.
//!
//! A query goes to one upstream and, if that takes longer than its answers mostly do, to the next
//! as well: the first good answer counts. An upstream that fails is probed until it answers again,
//! and meanwhile comes last.

mod connection;
mod exchange;
mod options;
mod upstream;

pub use options::{ForwardOptions, IDLE_MAX, Policy, Probe, Target};
pub use upstream::Upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::name::Name;
use crate::wire::relay::Relayed;
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
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many queries wait already.
    #[error("more queries wait for upstreams than max_concurrent allows")]
    Crowded,
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
        let order = self.order()?;
        let stream = self.options.force_tcp || (transport == Transport::Tcp && !self.options.prefer_udp);
        let transport = if stream { Transport::Tcp } else { Transport::Udp };
        let deadline = Instant::now() + DEADLINE;
        let mut attempts = JoinSet::new();
        let mut refused = None;
        for upstream in order {
            let patience = upstream.patience();
            attempts.spawn(attempt(upstream, message.to_vec(), transport, Arc::clone(&self.options)));
            let patience = patience.min(self.options.read_timeout);
            if let Ok(Some(Ok(Some(answer)))) = timeout(patience, attempts.join_next()).await {
                if !self.options.failover.contains(&answer.rcode()) {
                    return Ok(answer);
                }
                refused = Some(answer);
            }
            // It failed, or it is slow: the next one is asked.
        }
        while let Ok(Some(done)) = timeout_at(deadline, attempts.join_next()).await {
            if let Ok(Some(answer)) = done {
                if !self.options.failover.contains(&answer.rcode()) {
                    return Ok(answer);
                }
                refused = Some(answer);
            }
        }
        // Nobody gave a better answer than one with a code of `failover`.
        refused.ok_or(Failure::Unreachable)
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
        if all_down && self.options.failfast { Err(Failure::Down) } else { Ok(order) }
    }
}

async fn attempt(
    upstream: Arc<Upstream>,
    message: Vec<u8>,
    transport: Transport,
    options: Arc<ForwardOptions>,
) -> Option<Relayed> {
    let begun = Instant::now();
    let exchanged =
        timeout(options.read_timeout, exchange::ask(&upstream, &message, transport, &options)).await;
    if let Ok(Ok(answer)) = exchanged {
        upstream.answered(begun.elapsed());
        // With `prefer_udp`, what does not fit is asked for again.
        if answer.is_truncated() && options.prefer_udp && transport == Transport::Udp {
            let again = exchange::ask(&upstream, &message, Transport::Tcp, &options);
            return timeout(options.read_timeout, again).await.ok()?.ok().or(Some(answer));
        }
        return Some(answer);
    }
    upstream.failed(&options);
    None
}

struct Running<'f>(&'f AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
