//! The flow maps: established flows and half-open ones, one pair of maps an address family.

use core::borrow::Borrow;

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::maps::LruHashMap;
use seaway_common::{
    Be32, FLOW_COUNTS_PROGRAMS, FLOW_ESTABLISHED, FLOW_KERNEL, FlowCounts, FlowKey, FlowKeyV4, FlowValue,
    FlowValueV4, Hop, Reason,
};

use crate::maps::{FLOW_COUNTS, FLOWS_V4, FLOWS_V6, HALF_OPEN_V4, HALF_OPEN_V6};
use crate::{FlowEntry, Flows};

/// Flows of packets over IPv4.
pub struct FlowsV4;

/// Flows of packets over IPv6.
pub struct FlowsV6;

/// A value of `FLOWS_V4` or `HALF_OPEN_V4`, where it lies.
pub struct FlowV4(pub *mut FlowValueV4);

/// A value of `FLOWS_V6` or `HALF_OPEN_V6`, where it lies.
pub struct FlowV6(pub *mut FlowValue);

/// Both families alike: the maps, how keys and values get into them, and the handle of an entry.
macro_rules! flows {
    ($flows:ident, $entry:ident, $established:ident, $half_open:ident, $key:path, $value:path, $widen:path, $wide:literal) => {
        impl Flows for $flows {
            const WIDE: bool = $wide;

            type Flow = $entry;

            #[inline(always)]
            fn flow(&self, key: &FlowKey) -> Option<$entry> {
                let key = $key(key);
                if let Some(found) = $established.get_ptr_mut(key) {
                    return Some($entry(found));
                }
                $half_open.get_ptr_mut(key).map($entry)
            }

            #[inline(always)]
            fn half_open(&self, key: &FlowKey) -> Option<$entry> {
                $half_open.get_ptr_mut($key(key)).map($entry)
            }

            #[inline(always)]
            fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
                if value.state & (FLOW_ESTABLISHED | FLOW_KERNEL) != 0 {
                    put(&$established, $key(key), $value(value))
                } else {
                    put(&$half_open, $key(key), $value(value))
                }
            }

            #[inline(always)]
            fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason> {
                let key = $key(key);
                if !made($half_open.insert(key, $value(value), u64::from(BPF_NOEXIST)))? {
                    return Ok(false);
                }
                // In this order: a flow that is promoted meanwhile is in one of them at any time.
                if $established.get_ptr(key).is_none() {
                    return Ok(true);
                }
                remove(&$half_open, key);
                Ok(false)
            }

            #[inline(always)]
            fn promote_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason> {
                let key = $key(key);
                put(&$established, key, $value(value))?;
                remove(&$half_open, key);
                Ok(())
            }

            #[inline(always)]
            fn remove_flow(&self, key: &FlowKey) {
                let key = $key(key);
                remove(&$established, key);
                remove(&$half_open, key);
            }
        }

        // SAFETY, for all accesses below: the pointer came from a successful lookup in this run of
        // the program, and elements stay readable until it ends. Another CPU may write these members
        // meanwhile: single aligned words, and either value is a right one.
        impl FlowEntry for $entry {
            #[inline(always)]
            fn place(&self) -> (*mut core::ffi::c_void, bool) {
                (self.0.cast(), $wide)
            }

            #[inline(always)]
            fn get(&self) -> FlowValue {
                // SAFETY: see above.
                $widen(unsafe { &*self.0 })
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
            fn set_ack(&self, ack: Be32) {
                // SAFETY: see above.
                unsafe { (*self.0).ack = ack };
            }

            #[inline(always)]
            fn set_hop(&self, state: u16, hop: &Hop, mtu: u16, generation: u16) {
                // SAFETY: see above. A packet that reads half of another next hop while a route
                // changes is lost, as it might have been a moment earlier.
                unsafe {
                    (*self.0).state = state;
                    (*self.0).hop = *hop;
                    (*self.0).mtu = mtu;
                    (*self.0).generation = generation;
                }
            }
        }
    };
}

flows!(
    FlowsV4,
    FlowV4,
    FLOWS_V4,
    HALF_OPEN_V4,
    FlowKeyV4::narrow,
    FlowValueV4::narrow,
    FlowValueV4::widen,
    false
);
flows!(FlowsV6, FlowV6, FLOWS_V6, HALF_OPEN_V6, same, same, FlowValue::clone, true);

/// Over IPv6 the maps hold the wide form itself.
#[inline(always)]
const fn same<T>(wide: &T) -> &T {
    wide
}

/// Writes an entry and counts it if there was none.
#[inline(always)]
fn put<K, V>(map: &LruHashMap<K, V>, key: impl Borrow<K>, value: impl Borrow<V>) -> Result<(), Reason> {
    let (key, value) = (key.borrow(), value.borrow());
    if made(map.insert(key, value, u64::from(BPF_NOEXIST)))? {
        return Ok(());
    }
    map.insert(key, value, u64::from(BPF_ANY)).map_err(|_| Reason::FlowsFull)
}

/// Removes an entry and counts it if it was there.
#[inline(always)]
fn remove<K, V>(map: &LruHashMap<K, V>, key: impl Borrow<K>) {
    // The only failure is that there is none, or that the LRU took it first, which is as good.
    if map.remove(key).is_ok() {
        count(|counts| counts.removed += 1);
    }
}

/// From the result of an insertion that does not replace.
#[inline(always)]
fn made(result: Result<(), i32>) -> Result<bool, Reason> {
    match result {
        Ok(()) => {
            count(|counts| counts.made += 1);
            Ok(true)
        }
        Err(error) if error == -EEXIST => Ok(false),
        Err(_) => Err(Reason::FlowsFull),
    }
}

/// Counts an entry that was made or taken away.
#[inline(always)]
fn count(add: impl FnOnce(&mut FlowCounts)) {
    if let Some(counts) = FLOW_COUNTS.get_ptr_mut(FLOW_COUNTS_PROGRAMS) {
        // SAFETY: the value belongs to this CPU; at worst an interrupting program's count is lost.
        add(unsafe { &mut *counts });
    }
}

const EEXIST: i32 = 17;
