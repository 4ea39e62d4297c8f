//! Texts that many objects share: a node's name stands in every endpoint on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{EndpointSlice, Service};

/// The first time that unused texts are looked for.
const SWEEP_FIRST: usize = 1024;

/// One copy of each text.
#[derive(Debug)]
pub(super) struct Pool {
    texts: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { texts: BTreeSet::new(), sweep_at: SWEEP_FIRST }
    }
}

impl Pool {
    /// Replaces the texts of a slice that other slices have too.
    pub(super) fn slice(&mut self, slice: &mut EndpointSlice) {
        self.share(&mut slice.name.namespace);
        self.share(&mut slice.service.namespace);
        for port in &mut slice.ports {
            self.share(&mut port.name);
        }
        for endpoint in &mut slice.endpoints {
            let hints = endpoint.hints.zones.iter_mut().chain(&mut endpoint.hints.nodes);
            for text in endpoint.node.iter_mut().chain(&mut endpoint.zone).chain(hints) {
                self.share(text);
            }
        }
    }

    /// Replaces the texts of a Service that others have too.
    pub(super) fn service(&mut self, service: &mut Service) {
        self.share(&mut service.name.namespace);
        for port in &mut service.ports {
            self.share(&mut port.name);
        }
    }

    fn share(&mut self, text: &mut Arc<str>) {
        match self.texts.get(text) {
            Some(kept) => *text = Arc::clone(kept),
            None => {
                self.sweep();
                self.texts.insert(Arc::clone(text));
            }
        }
    }

    /// Forgets texts that nothing has any more, whenever twice as many have come together.
    fn sweep(&mut self) {
        if self.texts.len() >= self.sweep_at {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = SWEEP_FIRST.max(self.texts.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one_and_unused_ones_go() {
        let mut pool = Pool::default();
        let mut kept: Vec<Arc<str>> = vec!["node".into(), "node".into()];
        kept.iter_mut().for_each(|text| pool.share(text));
        assert!(Arc::ptr_eq(&kept[0], &kept[1]));
        for number in 0..2 * SWEEP_FIRST {
            pool.share(&mut number.to_string().into());
        }
        assert!(pool.texts.len() <= SWEEP_FIRST + 1, "{}", pool.texts.len());
        assert!(pool.texts.contains("node"));
    }
}
