//! Snapshots of the cluster, passed on to the blocks that serve its names.

use std::sync::Arc;

use seaway_cluster::Snapshot;

use crate::engine::Engine;
use crate::index::Builder;

/// Keeps the indexes of an engine up to date.
#[derive(Debug)]
pub struct Feed {
    builders: Vec<(usize, Builder)>,
}

impl Feed {
    /// A feed for an engine whose blocks know nothing yet.
    pub fn new(engine: &Engine) -> Self {
        let chains = engine.chains().iter().enumerate();
        let builders =
            chains.filter_map(|(number, chain)| Some((number, chain.kubernetes.as_ref()?.builder())));
        Self { builders: builders.collect() }
    }

    /// Makes a snapshot visible to the next query, and reports Services that newly have no name.
    /// `now_s` is the time in seconds since 1970.
    pub fn update(&mut self, engine: &Engine, snapshot: &Arc<Snapshot>, now_s: u32) {
        for (number, builder) in &mut self.builders {
            let (index, unnamed) = builder.update(Arc::clone(snapshot), now_s);
            for problem in unnamed {
                tracing::warn!("{problem}");
            }
            if let Some(kubernetes) = engine.chains().get(*number).and_then(|chain| chain.kubernetes.as_ref())
            {
                kubernetes.set(index);
            }
        }
    }
}
