//! The flow maps, one an address family.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use seaway_common::{
    FLOW_COUNTS_PROGRAMS, FlowCounts, FlowKey, FlowKeyV4, FlowValue, FlowValueV4, Hop, Reason,
};

use crate::maps::{FLOW_COUNTS, FLOWS_V4, FLOWS_V6};
use crate::{FlowEntry, Flows};

/// Flows of packets over IPv4.
pub struct FlowsV4;

/// Flows of packets over IPv6.
pub struct FlowsV6;

/// A value of `FLOWS_V4`, where it lies.
pub struct FlowV4(*mut FlowValueV4);

/// A value of `FLOWS_V6`, where it lies.
pub struct FlowV6(*mut FlowValue);

impl Flows for FlowsV4 {
    type Flow = FlowV4;

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowV4> {
        FLOWS_V4.get_ptr_mut(FlowKeyV4::narrow(key)).map(FlowV4)
    }

    #[inline(always)]
    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        let (key, value) = (FlowKeyV4::narrow(key), FlowValueV4::narrow(value));
        match claimed(FLOWS_V4.insert(key, value, u64::from(BPF_NOEXIST))) {
            Ok(false) => FLOWS_V4.insert(key, value, u64::from(BPF_ANY)).map_err(|_| Reason::FlowsFull),
            made => made.map(|_| ()),
        }
    }

    #[inline(always)]
    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason> {
        let (key, value) = (FlowKeyV4::narrow(key), FlowValueV4::narrow(value));
        claimed(FLOWS_V4.insert(key, value, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) {
        // The only failure is that the LRU took the entry first, which is as good.
        if FLOWS_V4.remove(FlowKeyV4::narrow(key)).is_ok() {
            note(|counts| counts.removed += 1);
        }
    }
}

impl Flows for FlowsV6 {
    type Flow = FlowV6;

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowV6> {
        FLOWS_V6.get_ptr_mut(key).map(FlowV6)
    }

    #[inline(always)]
    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
        match claimed(FLOWS_V6.insert(key, value, u64::from(BPF_NOEXIST))) {
            Ok(false) => FLOWS_V6.insert(key, value, u64::from(BPF_ANY)).map_err(|_| Reason::FlowsFull),
            made => made.map(|_| ()),
        }
    }

    #[inline(always)]
    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason> {
        claimed(FLOWS_V6.insert(key, value, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) {
        // As above.
        if FLOWS_V6.remove(key).is_ok() {
            note(|counts| counts.removed += 1);
        }
    }
}

/// Counts an entry that was made or taken away.
#[inline(always)]
fn note(add: impl FnOnce(&mut FlowCounts)) {
    if let Some(counts) = FLOW_COUNTS.get_ptr_mut(FLOW_COUNTS_PROGRAMS) {
        // SAFETY: the value belongs to this CPU; at worst an interrupting program's count is lost.
        add(unsafe { &mut *counts });
    }
}

/// From the result of an insertion that does not replace.
#[inline(always)]
fn claimed(result: Result<(), i32>) -> Result<bool, Reason> {
    match result {
        Ok(()) => {
            note(|counts| counts.made += 1);
            Ok(true)
        }
        Err(error) if error == -EEXIST => Ok(false),
        Err(_) => Err(Reason::FlowsFull),
    }
}

const EEXIST: i32 = 17;

// SAFETY, for all accesses below: the pointer came from a successful lookup in this run of the
// program, and elements stay readable until it ends. Another CPU may write `state` and
// `last_seen` meanwhile: both are single aligned words, and either value is a right one.

impl FlowEntry for FlowV4 {
    #[inline(always)]
    fn get(&self) -> FlowValue {
        // SAFETY: see above.
        unsafe { *self.0 }.widen()
    }

    #[inline(always)]
    fn state(&self) -> u16 {
        // SAFETY: see above.
        unsafe { (*self.0).state }
    }

    #[inline(always)]
    fn touch(&self, state: u16, now: u64) {
        // SAFETY: see above; concurrent touches of an entry write equally good words.
        unsafe {
            (*self.0).state = state;
            (*self.0).last_seen = now;
        }
    }

    #[inline(always)]
    fn set_hop(&self, state: u16, hop: &Hop, mtu: u16) {
        // SAFETY: see above. A packet that reads half of another next hop while a route changes
        // is lost, as it might have been a moment earlier.
        unsafe {
            (*self.0).state = state;
            (*self.0).hop = *hop;
            (*self.0).mtu = mtu;
        }
    }
}

impl FlowEntry for FlowV6 {
    #[inline(always)]
    fn get(&self) -> FlowValue {
        // SAFETY: see above.
        unsafe { *self.0 }
    }

    #[inline(always)]
    fn state(&self) -> u16 {
        // SAFETY: see above.
        unsafe { (*self.0).state }
    }

    #[inline(always)]
    fn touch(&self, state: u16, now: u64) {
        // SAFETY: see above; concurrent touches of an entry write equally good words.
        unsafe {
            (*self.0).state = state;
            (*self.0).last_seen = now;
        }
    }

    #[inline(always)]
    fn set_hop(&self, state: u16, hop: &Hop, mtu: u16) {
        // SAFETY: see above. A packet that reads half of another next hop while a route changes
        // is lost, as it might have been a moment earlier.
        unsafe {
            (*self.0).state = state;
            (*self.0).hop = *hop;
            (*self.0).mtu = mtu;
        }
    }
}
