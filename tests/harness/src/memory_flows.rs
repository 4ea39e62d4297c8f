//! Flows in plain memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use seaway_common::{Be32, FLOW_ESTABLISHED, FLOW_KERNEL, FlowKey, FlowValue, Hop, Reason};
use seaway_ebpf::{FlowEntry, Flows};

/// The flows of one address family, the established ones apart from the others as in the kernel.
#[derive(Debug)]
pub struct MemoryFlows {
    established: RefCell<BTreeMap<FlowKey, Entry>>,
    half_open: RefCell<BTreeMap<FlowKey, Entry>>,
    most: usize,
}

/// One entry, shared with whoever looked it up.
#[derive(Clone, Debug)]
pub struct Entry(Rc<Cell<FlowValue>>);

impl MemoryFlows {
    /// No flows, room for `most` entries of either kind.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { established: RefCell::default(), half_open: RefCell::default(), most }
    }

    /// Every entry.
    #[must_use]
    pub fn all(&self) -> BTreeMap<FlowKey, FlowValue> {
        let mut all = Self::values(&self.half_open);
        all.extend(Self::values(&self.established));
        all
    }

    /// Entries of established flows.
    #[must_use]
    pub fn established(&self) -> BTreeMap<FlowKey, FlowValue> {
        Self::values(&self.established)
    }

    /// Removes an entry, as the LRU would, and returns what it was.
    pub fn evict(&self, key: &FlowKey) -> Option<FlowValue> {
        let maps = [&self.established, &self.half_open];
        let removed = maps.map(|map| map.borrow_mut().remove(key));
        removed.into_iter().flatten().next().map(|entry| entry.0.get())
    }

    fn values(map: &RefCell<BTreeMap<FlowKey, Entry>>) -> BTreeMap<FlowKey, FlowValue> {
        map.borrow().iter().map(|(key, entry)| (*key, entry.0.get())).collect()
    }

    fn put(
        &self,
        map: &RefCell<BTreeMap<FlowKey, Entry>>,
        key: &FlowKey,
        value: &FlowValue,
    ) -> Result<(), Reason> {
        let mut entries = map.borrow_mut();
        if entries.len() >= self.most && !entries.contains_key(key) {
            return Err(Reason::FlowsFull);
        }
        // A new entry, as in the kernel: who looked up the old one does not see the new value.
        entries.insert(*key, Entry(Rc::new(Cell::new(*value))));
        Ok(())
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
        let established = self.established.borrow().get(key).cloned();
        established.or_else(|| self.half_open(key))
    }

    fn half_open(&self, key: &FlowKey) -> Option<Entry> {
        self.half_open.borrow().get(key).cloned()
    }

    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        let kept = value.state & (FLOW_ESTABLISHED | FLOW_KERNEL) != 0;
        self.put(if kept { &self.established } else { &self.half_open }, key, value)
    }

    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason> {
        if self.flow(key).is_some() {
            return Ok(false);
        }
        self.put(&self.half_open, key, value).map(|()| true)
    }

    fn promote_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        self.put(&self.established, key, value)?;
        self.half_open.borrow_mut().remove(key);
        Ok(())
    }

    fn remove_flow(&self, key: &FlowKey) {
        let _entry = self.evict(key);
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
