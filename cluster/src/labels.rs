//! Labels, annotations and selectors of objects.

use std::fmt;
use std::sync::Arc;

/// Texts by key, in the order of the keys. There are two or three of each object, and few objects have more
/// than a handful of pairs: a list is a fifth of the smallest node of a tree.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        let place = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.0[place].1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Of a key that comes twice, the last value counts.
impl FromIterator<(Arc<str>, Arc<str>)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        pairs.dedup_by(|(one, _), (other, _)| one == other);
        Self(pairs.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_last_value() {
        let pairs = [("b", "1"), ("a", "2"), ("b", "3")];
        let labels: Labels = pairs.map(|(key, value)| (key.into(), value.into())).into_iter().collect();
        let found = ["a", "b", "c"].map(|key| labels.get(key).map(|value| &**value));
        assert_eq!(found, [Some("2"), Some("3"), None]);
        assert_eq!(labels.iter().count(), 2);
        assert!(!labels.is_empty() && Labels::default().is_empty());
    }
}
