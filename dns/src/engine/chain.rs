//! A server block with what it knows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use crate::block::Block;
use crate::cache::Cache;
use crate::forward::Forward;
use crate::index::{Builder, Index};
use crate::metrics::{Sample, Tally};
use crate::name::Name;
use crate::options::Options;

/// One block with what it knows.
#[derive(Debug)]
pub struct Chain {
    /// Its configuration.
    pub block: Block,
    /// The cluster's names.
    pub kubernetes: Option<Kubernetes>,
    /// Kept answers from elsewhere.
    pub cache: Option<Arc<Cache>>,
    /// Whom to ask, the longest zone first.
    pub forward: Vec<Arc<Forward>>,
    /// It has none of the plugins that most blocks do without.
    pub(super) plain: bool,
    pub(super) tally: Option<Arc<Tally>>,
}

/// The `kubernetes` plugin of a block.
#[derive(Debug)]
pub struct Kubernetes {
    /// Its configuration.
    pub options: Arc<Options>,
    pub(super) index: ArcSwap<Index>,
}

impl Chain {
    /// A block that knows nothing yet.
    pub(super) fn new(block: Block) -> Self {
        let kubernetes = block.kubernetes.clone().map(Kubernetes::new);
        let mut forward: Vec<_> = block.forward.iter().cloned().map(Forward::new).map(Arc::new).collect();
        forward.sort_by_key(|forward| std::cmp::Reverse(forward.options.zone.labels()));
        let plain = block.acl.is_empty()
            && block.rewrite.is_empty()
            && block.template.is_empty()
            && block.files.is_empty()
            && block.autopath.is_none()
            && block.hosts.is_none()
            && block.external.is_none()
            && !block.whoami;
        let cache = block.cache.clone().map(Cache::new).map(Arc::new);
        Self { kubernetes, cache, forward, plain, tally: None, block }
    }

    /// The first forwarder, from a place on, that is to be asked for a name.
    pub fn forward_of(&self, name: &Name<'_>, from: usize) -> Option<usize> {
        let place = self.forward.iter().skip(from).position(|forward| forward.takes(name))?;
        Some(from + place)
    }

    /// Counts a search of `autopath` that led to an answer.
    pub(super) fn searched(&self) {
        if let Some(tally) = &self.tally {
            tally.searches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer that this block gave.
    pub fn count(&self, thread: usize, sample: &Sample) {
        if let Some(tally) = &self.tally {
            tally.count(thread, sample);
        }
    }
}

impl Kubernetes {
    fn new(options: Arc<Options>) -> Self {
        Self { options, index: ArcSwap::default() }
    }

    /// A builder of indexes for it.
    pub fn builder(&self) -> Builder {
        Builder::new(Arc::clone(&self.options))
    }

    /// Puts an index in force: the next query sees it.
    pub fn set(&self, index: Arc<Index>) {
        self.index.store(index);
    }

    /// The index in force.
    pub fn index(&self) -> Arc<Index> {
        self.index.load_full()
    }
}
