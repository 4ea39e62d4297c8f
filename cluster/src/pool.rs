//! What many objects have in common: the names of namespaces and ports, and where endpoints run.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{AddressFamily, EndpointSlice, Locality, Service};

/// The first time that unused texts are looked for.
const SWEEP_FIRST: usize = 1024;

/// So many combinations of families are kept.
const FAMILIES_MAX: usize = 16;

/// One copy of each text.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Names of objects and ports.
    names: Shelf<Arc<str>>,
    localities: Shelf<Arc<Locality>>,
    /// There are four combinations, and nonsense.
    families: Vec<Arc<[AddressFamily]>>,
}

#[derive(Debug)]
struct Shelf<T> {
    texts: BTreeSet<T>,
    sweep_at: usize,
}

/// A text that can be told to have no other holder.
trait Held: Ord + Clone {
    fn is_alone(&self) -> bool;
}

impl Pool {
    /// Replaces the texts of a slice that other slices have too.
    pub(crate) fn slice(&mut self, slice: &mut EndpointSlice) {
        self.names.share(&mut slice.name.namespace);
        self.names.share(&mut slice.service.namespace);
        for port in &mut slice.ports {
            self.names.share(&mut port.name);
        }
        for endpoint in &mut slice.endpoints {
            endpoint.locality.iter_mut().for_each(|locality| self.localities.share(locality));
        }
    }

    /// Replaces the texts of a Service that others have too.
    pub(crate) fn service(&mut self, service: &mut Service) {
        self.names.share(&mut service.name.namespace);
        for port in &mut service.ports {
            self.names.share(&mut port.name);
        }
    }
}

impl Pool {
    /// Replaces the families that a Service declares, which others declare too.
    pub(crate) fn families(&mut self, families: &mut Arc<[AddressFamily]>) {
        match self.families.iter().find(|kept| *kept == families) {
            Some(kept) => *families = Arc::clone(kept),
            None if self.families.len() < FAMILIES_MAX => self.families.push(Arc::clone(families)),
            None => {}
        }
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { texts: BTreeSet::new(), sweep_at: SWEEP_FIRST }
    }
}

impl<T: Held> Shelf<T> {
    fn share(&mut self, text: &mut T) {
        match self.texts.get(text) {
            Some(kept) => *text = kept.clone(),
            None => {
                self.sweep();
                self.texts.insert(text.clone());
            }
        }
    }

    /// Forgets texts that nothing has any more, whenever twice as many have come together.
    fn sweep(&mut self) {
        if self.texts.len() >= self.sweep_at {
            self.texts.retain(|text| !text.is_alone());
            self.sweep_at = SWEEP_FIRST.max(self.texts.len() * 2);
        }
    }
}

impl<T: ?Sized + Ord> Held for Arc<T> {
    fn is_alone(&self) -> bool {
        Self::strong_count(self) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one_and_unused_ones_go() {
        let mut shelf = Shelf::default();
        let mut kept: Vec<Arc<str>> = vec!["node".into(), "node".into()];
        kept.iter_mut().for_each(|text| shelf.share(text));
        assert!(Arc::ptr_eq(&kept[0], &kept[1]));
        for number in 0..2 * SWEEP_FIRST {
            shelf.share(&mut number.to_string().into());
        }
        assert!(shelf.texts.len() <= SWEEP_FIRST + 1, "{}", shelf.texts.len());
        assert!(shelf.texts.contains("node"));
    }
}
