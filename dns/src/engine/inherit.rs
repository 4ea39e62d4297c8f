//! What a new configuration takes over from the one before: whatever is learned, of blocks that did
//! not change.

use std::sync::Arc;

use super::{Chain, Engine};

impl Engine {
    /// The same, with the kept answers and the knowledge about upstreams of another engine's blocks
    /// that say the same.
    pub(crate) fn inherit(mut self, before: &Self) -> Self {
        for chain in &mut self.chains {
            if let Some(heir) = before.chains.iter().find(|before| chain.says_the_same(before)) {
                chain.cache.clone_from(&heir.cache);
                for (new, old) in chain.forward.iter_mut().zip(&heir.forward) {
                    // Certificates may have changed though their files' names did not.
                    if new.options.tls.is_none() {
                        *new = Arc::clone(old);
                    }
                }
            }
        }
        self
    }
}

impl Chain {
    fn says_the_same(&self, other: &Self) -> bool {
        let upstreams = |chain: &Self| -> Vec<_> {
            chain.forward.iter().flat_map(|forward| forward.options.upstreams.clone()).collect()
        };
        let (one, two) = (&self.block, &other.block);
        one.digest.is_some()
            && one.digest == two.digest
            && one.place() == two.place()
            && one.zones == two.zones
            && upstreams(self) == upstreams(other)
    }
}
