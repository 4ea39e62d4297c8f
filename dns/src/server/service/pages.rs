//! What the server tells of itself: whether it is ready, and what it counts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use seaway_cluster::Update;

use super::Service;
use crate::server::http::Page;

impl Service {
    /// From now on it is not ready, and goes on answering.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// From now on it is ready only while the facts are fresh, unless its configuration says otherwise.
    pub fn follow(&self, facts: &Update) {
        // There is one source for the whole life of a server.
        self.freshness.get_or_init(|| facts.freshness.clone());
        self.requests.get_or_init(|| facts.requests.clone());
    }

    /// Why it is not ready at a moment; `None` if it is.
    pub fn unready(&self, now: Instant) -> Option<String> {
        if self.stopping.load(Ordering::Acquire) {
            return Some("stopping".to_owned());
        }
        let engine = self.engine();
        let once = engine.chains().iter().any(|chain| chain.block.ready.is_some_and(|ready| ready.once));
        if once && self.was_ready.load(Ordering::Relaxed) {
            return None;
        }
        let mut known = engine.chains().iter().filter_map(|chain| chain.kubernetes.as_ref()).peekable();
        let serves = known.peek().is_some();
        if known.any(|kubernetes| !kubernetes.index().synced) {
            return Some("kubernetes".to_owned());
        }
        let stale = self.freshness.get().filter(|_| serves).and_then(|freshness| freshness.stale(now));
        if let Some(stale) = stale {
            return Some(format!("kubernetes: {stale}"));
        }
        self.was_ready.store(true, Ordering::Relaxed);
        None
    }

    /// What is counted, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never, as long as a `String` can grow.
    pub fn metrics_text(&self) -> Result<String, fmt::Error> {
        let engine = self.engine();
        self.metrics.forget_sizes();
        engine.chains().iter().filter_map(|chain| chain.cache.as_ref()).for_each(|cache| cache.tell_sizes());
        if let Some(freshness) = self.freshness.get() {
            self.metrics.note_followed(freshness.followed(), Instant::now());
        }
        if let Some(requests) = self.requests.get() {
            self.metrics.note_asked(requests.asked());
        }
        self.metrics.text()
    }

    /// The pages that the configuration asks for, and where.
    pub(in crate::server) fn pages(&self) -> Vec<(SocketAddr, Page)> {
        let engine = self.engine();
        let blocks = engine.chains().iter().map(|chain| &chain.block);
        let mut pages: Vec<(SocketAddr, Page)> = blocks
            .flat_map(|block| {
                let health = block.health.map(|health| (health.address, Page::Health));
                let ready = block.ready.map(|ready| (ready.address, Page::Ready));
                let metrics = block.prometheus.map(|address| (address, Page::Metrics));
                [health, ready, metrics]
            })
            .flatten()
            .collect();
        pages.sort_unstable();
        pages.dedup();
        pages
    }
}
