//! Services by name, in slots that keep their number.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use seaway_cluster::ServiceName;

use super::{Entry, HASHER};

/// Entries by the key of their name; addresses point to them by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    slots: HashTable<u32>,
    list: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
}

impl Entries {
    /// The entry of a key: its name and namespace as labels in lower case.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        let slot = self.slots.find(HASHER.hash_one(key), |slot| {
            self.at(*slot).is_some_and(|entry| entry.key().eq_ignore_ascii_case(key))
        })?;
        self.at(*slot)
    }

    /// The entry in a slot.
    pub(super) fn at(&self, slot: u32) -> Option<&Arc<Entry>> {
        self.list.get(slot as usize)?.as_ref()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.list.iter().flatten()
    }

    /// Puts the entry of a name in, or removes it. Returns its slot if that is a change.
    pub(super) fn put(&mut self, name: &ServiceName, entry: Option<Arc<Entry>>) -> Option<u32> {
        let key = key(name);
        let hash = HASHER.hash_one(&*key);
        let list = &self.list;
        let of_name = |slot: &u32| {
            let there = list[*slot as usize].as_ref();
            there.is_some_and(|there| there.key().eq_ignore_ascii_case(&key))
        };
        let slot = match (self.slots.find_entry(hash, of_name), &entry) {
            (Err(_), None) => return None,
            (Ok(found), Some(entry)) => {
                let slot = *found.get();
                let same = self.list[slot as usize].as_ref() == Some(entry);
                if same {
                    // Taken over all the same, so that the facts before it can go.
                    self.list[slot as usize] = Some(Arc::clone(entry));
                    return None;
                }
                slot
            }
            (Ok(found), None) => {
                let slot = found.remove().0;
                self.free.push(slot);
                slot
            }
            (Err(_), Some(_)) => {
                let slot = self.free.pop().or_else(|| u32::try_from(self.list.len()).ok())?;
                if slot as usize == self.list.len() {
                    self.list.push(None);
                }
                let list = &self.list;
                let rehash = |slot: &u32| {
                    let there = list[*slot as usize].as_ref();
                    there.map_or(0, |there| HASHER.hash_one(there.key().to_ascii_lowercase().as_slice()))
                };
                self.slots.insert_unique(hash, slot, rehash);
                slot
            }
        };
        self.list[slot as usize] = entry;
        Some(slot)
    }
}

fn key(name: &ServiceName) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
    for label in [&*name.name, &*name.namespace] {
        key.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        key.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    key
}
