//! Queries for everything that is not ours, asked of other servers.
//!
//! A query goes to one upstream and, if that takes longer than its answers mostly do, to the next
//! as well: the first good answer counts. An upstream that fails is probed until it answers again,
//! and meanwhile comes last.

mod exchange;
mod upstream;

pub use upstream::Upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::name::{Name, Zone};
use crate::wire::relay::Relayed;
use crate::wire::writer::Transport;

/// The most upstreams of one forwarder.
pub const UPSTREAMS_MAX: usize = 15;
/// A query is given up after this long altogether.
const DEADLINE: Duration = Duration::from_secs(5);

/// A `forward` plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardOptions {
    /// The zone whose names are asked for.
    pub zone: Zone,
    /// Zones below it whose names are not.
    pub except: Vec<Zone>,
    /// Who is asked.
    pub upstreams: Vec<SocketAddr>,
    /// In which order.
    pub policy: Policy,
    /// Upstreams are asked over TCP, however the query came.
    pub force_tcp: bool,
    /// Upstreams are asked over UDP first, however the query came.
    pub prefer_udp: bool,
    /// So many failed probes in a row make an upstream count as down; 0 is never.
    pub fails_max: u32,
    /// So many queries at once; others are refused. 0 is no limit.
    pub concurrent_max: usize,
    /// How long one upstream is waited for.
    pub read_timeout: Duration,
    /// How often an upstream that failed is probed.
    pub probe_interval: Duration,
    /// Whether queries fail at once while all upstreams are down; else one is tried anyway.
    pub failfast: bool,
}

/// The order in which upstreams are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Beginning with any of them.
    #[default]
    Random,
    /// Beginning with the one after the last.
    RoundRobin,
    /// Always as they are written down.
    Sequential,
}

/// A forwarder at work.
#[derive(Debug)]
pub struct Forward {
    /// Its configuration.
    pub options: ForwardOptions,
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

impl ForwardOptions {
    /// Defaults for a zone and its upstreams.
    pub fn new(zone: Zone, upstreams: Vec<SocketAddr>) -> Self {
        Self {
            zone,
            except: Vec::new(),
            upstreams,
            policy: Policy::default(),
            force_tcp: false,
            prefer_udp: false,
            fails_max: 2,
            concurrent_max: 0,
            read_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_millis(500),
            failfast: false,
        }
    }
}

impl Forward {
    /// A forwarder that takes all upstreams for sound.
    pub fn new(options: ForwardOptions) -> Self {
        let upstreams = options.upstreams.iter().map(|address| Arc::new(Upstream::new(*address))).collect();
        Self { options, upstreams, turn: AtomicUsize::new(0), running: AtomicUsize::new(0) }
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
        for upstream in order {
            let patience = upstream.patience();
            attempts.spawn(attempt(upstream, message.to_vec(), transport, self.options.clone()));
            let patience = patience.min(self.options.read_timeout);
            if let Ok(Some(Ok(Some(answer)))) = timeout(patience, attempts.join_next()).await {
                return Ok(answer);
            }
            // It failed, or it is slow: the next one is asked.
        }
        while let Ok(Some(done)) = timeout_at(deadline, attempts.join_next()).await {
            if let Ok(Some(answer)) = done {
                return Ok(answer);
            }
        }
        Err(Failure::Unreachable)
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
    options: ForwardOptions,
) -> Option<Relayed> {
    let begun = Instant::now();
    let exchanged = timeout(options.read_timeout, exchange::ask(upstream.address, &message, transport)).await;
    if let Ok(Ok(answer)) = exchanged {
        upstream.answered(begun.elapsed());
        // With `prefer_udp`, what does not fit is asked for again.
        if answer.is_truncated() && options.prefer_udp && transport == Transport::Udp {
            let again = exchange::ask(upstream.address, &message, Transport::Tcp);
            return timeout(options.read_timeout, again).await.ok()?.ok().or(Some(answer));
        }
        return Some(answer);
    }
    upstream.failed(options.probe_interval);
    None
}

struct Running<'f>(&'f AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
