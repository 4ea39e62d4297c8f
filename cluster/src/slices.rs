//! The slices of one Service.

use std::sync::Arc;

use crate::{EndpointSlice, ObjectName};

/// The slices of one Service in order of their names. A clone shares them, and a change to what others
/// hold too copies the list first. Most Services have one slice: a list of one costs 8 octets, where a
/// tree would cost half a kilobyte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices(Arc<Vec<Arc<EndpointSlice>>>);

impl Slices {
    /// The slices in order of their names.
    pub fn values(&self) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.0.iter()
    }

    /// The slice of a name.
    pub fn get(&self, name: &ObjectName) -> Option<&Arc<EndpointSlice>> {
        self.place(name).ok().map(|place| &self.0[place])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a slice, or replaces the one of its name.
    pub fn insert(&mut self, slice: Arc<EndpointSlice>) {
        let place = self.place(&slice.name);
        let slices = Arc::make_mut(&mut self.0);
        match place {
            Ok(place) => slices[place] = slice,
            Err(place) => {
                slices.reserve_exact(1);
                slices.insert(place, slice);
            }
        }
    }

    /// Removes the slice of a name, if there is one.
    pub fn remove(&mut self, name: &ObjectName) {
        if let Ok(place) = self.place(name) {
            Arc::make_mut(&mut self.0).remove(place);
        }
    }

    /// The same slices, with the `Arc` of each that `previous` holds in an equal form.
    pub(crate) fn shared_with(&self, previous: &Self) -> Self {
        let slices = self.values().map(|slice| {
            let same = previous.get(&slice.name).filter(|before| *before == slice);
            Arc::clone(same.unwrap_or(slice))
        });
        Self(Arc::new(slices.collect()))
    }

    fn place(&self, name: &ObjectName) -> Result<usize, usize> {
        self.0.binary_search_by(|slice| slice.name.cmp(name))
    }
}

impl FromIterator<Arc<EndpointSlice>> for Slices {
    fn from_iter<I: IntoIterator<Item = Arc<EndpointSlice>>>(slices: I) -> Self {
        let mut all = Self::default();
        slices.into_iter().for_each(|slice| all.insert(slice));
        all
    }
}
