//! Free ids and slots.
//!
//! What is given back is held for [`HOLD_MS`] before it is given out again: a program that was
//! running when the last pointer to it went may still read it. That is many RCU grace periods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long given-back space is held.
pub const HOLD_MS: u64 = 2_000;

/// Numbers from 0 up to a limit.
#[derive(Clone, Debug)]
pub struct Ids {
    free: BTreeSet<u32>,
    /// Every number from here on is free.
    fresh: u32,
    limit: u32,
    held: VecDeque<(u64, u32)>,
}

/// Runs of slots. They start at even offsets, so that no two share a value of the slot array.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// Length of each free run by its offset.
    by_offset: BTreeMap<u32, u32>,
    by_len: BTreeSet<(u32, u32)>,
    held: VecDeque<(u64, u32, u32)>,
}

impl Ids {
    /// The numbers below `limit`, without those in `used`, which may hold others too.
    pub fn new(limit: u32, used: &BTreeSet<u32>) -> Self {
        let fresh = used.range(..limit).next_back().map_or(0, |last| last + 1);
        let free = (0..fresh).filter(|id| !used.contains(id)).collect();
        Self { free, fresh, limit, held: VecDeque::new() }
    }

    /// A free number; `None` when all are taken or held.
    pub fn take(&mut self, now_ms: u64) -> Option<u32> {
        self.release(now_ms);
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        if self.fresh == self.limit {
            return None;
        }
        self.fresh += 1;
        Some(self.fresh - 1)
    }

    /// Gives a number back; one that was never there to be taken is dropped.
    pub fn give_back(&mut self, id: u32, now_ms: u64) {
        if id < self.limit {
            self.held.push_back((now_ms + HOLD_MS, id));
        }
    }

    /// Takes over what another one still holds, after the maps were read anew.
    pub fn hold_as(&mut self, before: &Self) {
        for (until, id) in &before.held {
            if self.free.remove(id) {
                self.held.push_back((*until, *id));
            }
        }
    }

    fn release(&mut self, now_ms: u64) {
        while let Some((_, id)) = self.held.pop_front_if(|(until, _)| *until <= now_ms) {
            self.free.insert(id);
        }
    }
}

impl Ranges {
    /// The slots below `limit`, without the runs in `used` (offset and length), which do not overlap.
    pub fn new(limit: u32, used: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut ranges = Self { by_offset: BTreeMap::new(), by_len: BTreeSet::new(), held: VecDeque::new() };
        let used: BTreeMap<u32, u32> = used.into_iter().collect();
        let mut at = 0;
        for (offset, len) in used {
            ranges.insert(at, offset.saturating_sub(at));
            at = offset.saturating_add(even(len));
        }
        ranges.insert(at, limit.saturating_sub(at));
        ranges
    }

    /// The offset of `len` free slots in a row; `None` when there are none.
    pub fn take(&mut self, len: u32, now_ms: u64) -> Option<u32> {
        self.release(now_ms);
        let len = even(len);
        let (found, offset) = *self.by_len.range((len, 0)..).next()?;
        self.remove(offset, found);
        self.insert(offset + len, found - len);
        Some(offset)
    }

    /// Gives a run back.
    pub fn give_back(&mut self, offset: u32, len: u32, now_ms: u64) {
        if len != 0 {
            self.held.push_back((now_ms + HOLD_MS, offset, even(len)));
        }
    }

    /// Takes over what another one still holds, after the maps were read anew.
    pub fn hold_as(&mut self, before: &Self) {
        for (until, offset, len) in &before.held {
            let around = self.by_offset.range(..=*offset).next_back().map(|(start, len)| (*start, *len));
            let Some((start, free)) = around.filter(|(start, free)| start + free >= offset + len) else {
                continue;
            };
            self.remove(start, free);
            self.insert(start, offset - start);
            self.insert(offset + len, start + free - offset - len);
            self.held.push_back((*until, *offset, *len));
        }
    }

    fn release(&mut self, now_ms: u64) {
        while let Some((_, offset, len)) = self.held.pop_front_if(|(until, ..)| *until <= now_ms) {
            let (mut offset, mut len) = (offset, len);
            if let Some(next) = self.by_offset.get(&(offset + len)).copied() {
                self.remove(offset + len, next);
                len += next;
            }
            if let Some((start, before)) = self.by_offset.range(..offset).next_back().map(|(s, l)| (*s, *l))
                && start + before == offset
            {
                self.remove(start, before);
                (offset, len) = (start, before + len);
            }
            self.insert(offset, len);
        }
    }

    fn insert(&mut self, offset: u32, len: u32) {
        if len != 0 {
            self.by_offset.insert(offset, len);
            self.by_len.insert((len, offset));
        }
    }

    fn remove(&mut self, offset: u32, len: u32) {
        self.by_offset.remove(&offset);
        self.by_len.remove(&(len, offset));
    }
}

fn even(len: u32) -> u32 {
    len.saturating_add(len & 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_held_before_it_is_given_out_again() {
        let mut ids = Ids::new(2, &BTreeSet::from([0]));
        assert_eq!(ids.take(0), Some(1));
        ids.give_back(1, 100);
        assert_eq!((ids.take(100), ids.take(100 + HOLD_MS)), (None, Some(1)));
    }

    proptest! {
        /// Runs that are out never overlap, and everything that is given back can be had again.
        #[test]
        fn runs_never_overlap(lens in proptest::collection::vec((1u32..20, any::<bool>()), 1..200)) {
            let limit = 1000;
            let mut ranges = Ranges::new(limit, [(10, 5), (500, 20)]);
            let mut out: Vec<(u32, u32)> = vec![(10, 5), (500, 20)];
            let mut now = 0;
            for (len, give) in lens {
                now += HOLD_MS;
                if give && let Some((offset, len)) = out.pop() {
                    ranges.give_back(offset, len, now);
                } else if let Some(offset) = ranges.take(len, now) {
                    prop_assert!(offset + len <= limit && offset % 2 == 0);
                    prop_assert!(out.iter().all(|(o, l)| offset + len <= *o || o + l <= offset));
                    out.push((offset, len));
                }
            }
            for (offset, len) in out.drain(..) {
                ranges.give_back(offset, len, now);
            }
            prop_assert_eq!(ranges.take(limit, now + HOLD_MS), Some(0));
        }
    }
}
