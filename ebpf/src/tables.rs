//! What the logic reads and writes: BPF maps in the kernel, plain collections in tests.

use seaway_common::{
    BackendValue, FlowKey, FlowValue, Reason, ServiceKey, ServiceValue, SocketKey, SocketValue,
};

/// The tables, the clock and the random numbers behind the logic.
pub trait Tables {
    /// The service entry, copied out at once: the original may be replaced at any time.
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue>;

    /// The backend id in a slot.
    fn slot(&self, index: u32) -> Option<u32>;

    /// A backend, holes included.
    fn backend(&self, id: u32) -> Option<BackendValue>;

    /// The socket entry.
    fn socket(&self, key: &SocketKey) -> Option<SocketValue>;

    /// Writes a socket entry, replacing the one there.
    ///
    /// # Errors
    /// [`Reason::SocketsFull`]
    fn put_socket(&self, key: &SocketKey, value: &SocketValue) -> Result<(), Reason>;

    /// Removes a socket entry, if it is there.
    fn remove_socket(&self, key: &SocketKey);

    /// Counts a packet of `bytes` towards a backend.
    fn count_packet(&self, backend: u32, bytes: usize);

    /// Counts a connection that was given a backend, or found none.
    fn count_connection(&self, service: u32, placed: bool);

    /// The kernel's tick counter: its cheapest clock, read without a call.
    fn now(&self) -> u64;

    /// Ticks a second.
    fn ticks_per_s(&self) -> u64;

    /// A uniformly random number.
    fn random(&self) -> u32;
}

/// The flows of one address family.
pub trait Flows {
    /// Handle of a flow entry in place.
    type Flow: FlowEntry;

    /// The flow entry.
    fn flow(&self, key: &FlowKey) -> Option<Self::Flow>;

    /// Writes a flow entry, replacing the one there.
    ///
    /// # Errors
    /// [`Reason::FlowsFull`]
    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason>;

    /// Removes a flow entry, if it is there.
    fn remove_flow(&self, key: &FlowKey);
}

/// One flow entry, read and changed in place: programs have little stack for copies.
pub trait FlowEntry {
    /// A copy of the entry.
    fn get(&self) -> FlowValue;

    /// `FLOW_*` bits.
    fn state(&self) -> u16;

    /// Sets the state bits and the time of the last packet.
    fn touch(&self, state: u16, now: u64);
}
