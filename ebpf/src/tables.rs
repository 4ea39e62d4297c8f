//! What the logic reads and writes: BPF maps in the kernel, plain collections in tests.

use crate::{Headers, Inner, Plan};
use seaway_common::{
    Addr, AffinityKey, AffinityValue, BackendValue, Config, FlowKey, FlowValue, FragmentKey, FragmentValue,
    Hop, Reason, ServiceKey, ServiceValue, SocketKey, SocketValue,
};

/// The tables, the clock and the random numbers behind the logic.
pub trait Tables {
    /// Runs `with` on a place for a packet's headers. A program has it outside of its stack: the
    /// verifier then forgets what it knows of them, and does not go through all that follows once for
    /// each way to a header. `None` where there is no such memory.
    fn keep_headers<R>(&self, with: impl FnOnce(&mut Headers) -> R) -> Option<R> {
        Some(with(&mut Headers::default()))
    }

    /// Runs `with` on an empty plan, kept like the headers.
    fn keep_plan<R>(&self, with: impl FnOnce(&mut Plan) -> R) -> Option<R> {
        Some(with(&mut Plan::default()))
    }

    /// Runs `with` on an empty place for the packet that an ICMP error is about, kept like the headers.
    fn keep_inner<R>(&self, with: impl FnOnce(&mut Inner) -> R) -> Option<R> {
        Some(with(&mut Inner::default()))
    }

    /// What user space says about the node; none before it said anything.
    fn config(&self) -> Option<&Config>;

    /// The service entry, copied out at once: the original may be replaced at any time.
    fn service(&self, key: &ServiceKey) -> Option<ServiceValue>;

    /// `ADDRESS_*` bits of an address; 0 for one that no service has.
    fn address(&self, addr: &Addr) -> u32;

    /// Whether a client is in one of a service's source ranges.
    fn in_source_ranges(&self, service: u32, client: &Addr) -> bool;

    /// The backend id in a slot.
    fn slot(&self, index: u32) -> Option<u32>;

    /// A backend, holes included.
    fn backend(&self, id: u32) -> Option<BackendValue>;

    /// The endpoint that a client was bound to.
    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue>;

    /// Binds a client to an endpoint. A full table takes the place of the client seen least recently.
    fn put_affinity(&self, key: &AffinityKey, value: &AffinityValue);

    /// What a datagram's first fragment said.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;

    /// Remembers what a datagram's first fragment said.
    fn put_fragment(&self, key: &FragmentKey, value: &FragmentValue);

    /// How many clients of a service were placed in turn before this one.
    fn turn(&self, service: u32) -> u64;

    /// Open connections of a backend.
    fn connections(&self, backend: u32) -> u64;

    /// Counts a connection that was opened, or closed.
    fn count_open(&self, backend: u32, opened: bool);

    /// `DEVICE_*` bits of an interface.
    fn device(&self, ifindex: u32) -> u32;

    /// Whether the server of this node's agent may be led to: the agent said so a moment ago.
    fn stands_in(&self) -> bool;

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

    /// Writes a flow entry unless there is one. Says whether it was written.
    ///
    /// # Errors
    /// [`Reason::FlowsFull`]
    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason>;

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

    /// Sets the state bits and the next hop.
    fn set_hop(&self, state: u16, hop: &Hop, mtu: u16);
}
