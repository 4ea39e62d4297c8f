//! The slices of one Service.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::{EndpointSlice, ObjectName};

/// The slices of one Service by their own name: a map that is cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices(Arc<BTreeMap<ObjectName, Arc<EndpointSlice>>>);

impl Slices {
    /// The same slices, with the `Arc` of each that `previous` holds in an equal form.
    pub(crate) fn shared_with(&self, previous: &Self) -> Self {
        let same = |name: &ObjectName, slice: &Arc<EndpointSlice>| {
            previous.get(name).filter(|before| *before == slice).cloned()
        };
        let slices = self.iter().map(|(name, slice)| {
            let kept = same(name, slice).unwrap_or_else(|| Arc::clone(slice));
            (name.clone(), kept)
        });
        slices.collect()
    }
}

impl Deref for Slices {
    type Target = BTreeMap<ObjectName, Arc<EndpointSlice>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A map that others hold too is copied first.
impl DerefMut for Slices {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl FromIterator<(ObjectName, Arc<EndpointSlice>)> for Slices {
    fn from_iter<I: IntoIterator<Item = (ObjectName, Arc<EndpointSlice>)>>(slices: I) -> Self {
        Self(Arc::new(slices.into_iter().collect()))
    }
}
