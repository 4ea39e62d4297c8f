//! Flows in plain memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use seaway_common::{Be32, FlowKey, FlowValue, Hop, Reason};
use seaway_ebpf::{FlowEntry, Flows};

/// The flows of one address family.
#[derive(Debug)]
pub struct MemoryFlows {
    entries: RefCell<BTreeMap<FlowKey, Entry>>,
    most: usize,
}

/// One entry, shared with whoever looked it up.
#[derive(Clone, Debug)]
pub struct Entry(Rc<Cell<FlowValue>>);

impl MemoryFlows {
    /// No flows, room for `most` entries.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { entries: RefCell::default(), most }
    }

    /// Every entry.
    #[must_use]
    pub fn all(&self) -> BTreeMap<FlowKey, FlowValue> {
        self.entries.borrow().iter().map(|(key, entry)| (*key, entry.0.get())).collect()
    }

    /// Removes an entry, as the LRU would, and returns what it was.
    pub fn evict(&self, key: &FlowKey) -> Option<FlowValue> {
        self.entries.borrow_mut().remove(key).map(|entry| entry.0.get())
    }
}

impl Default for MemoryFlows {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Flows for MemoryFlows {
    // One kind serves both.
    const WIDE: bool = true;

    type Flow = Entry;

    fn flow(&self, key: &FlowKey) -> Option<Entry> {
        self.entries.borrow().get(key).cloned()
    }

    fn half_open(&self, key: &FlowKey) -> Option<Entry> {
        self.flow(key)
    }

    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.most && !entries.contains_key(key) {
            return Err(Reason::FlowsFull);
        }
        // A new entry, as in the kernel: who looked up the old one does not see the new value.
        entries.insert(*key, Entry(Rc::new(Cell::new(*value))));
        Ok(())
    }

    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason> {
        if self.entries.borrow().contains_key(key) {
            return Ok(false);
        }
        self.put_flow(key, value).map(|()| true)
    }

    fn promote_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        self.put_flow(key, value)
    }

    fn remove_flow(&self, key: &FlowKey) {
        self.entries.borrow_mut().remove(key);
    }
}

impl FlowEntry for Entry {
    fn get(&self) -> FlowValue {
        self.0.get()
    }

    fn state(&self) -> u16 {
        self.0.get().state
    }

    fn touch(&self, state: u16, now: u64) {
        self.0.set(FlowValue { state, last_seen: now, ..self.0.get() });
    }

    fn set_ack(&self, ack: Be32) {
        self.0.set(FlowValue { ack, ..self.0.get() });
    }

    fn set_hop(&self, state: u16, hop: &Hop, mtu: u16, generation: u16) {
        self.0.set(FlowValue { state, hop: *hop, mtu, generation, ..self.0.get() });
    }
}
