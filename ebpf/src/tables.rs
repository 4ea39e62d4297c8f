//! What the logic reads and writes: BPF maps in the kernel, plain collections in tests.

use crate::pair::{Claim, attempt};
use crate::start::{self, Started};
use crate::translate::{Stage, deliver, translate_icmp, translate_parsed};
use crate::{Headers, Inner, Packet, Plan, Room};
use seaway_common::{
    Addr, AffinityKey, AffinityValue, BackendValue, Be16, Be32, Config, FlowKey, FlowValue, FragmentKey,
    FragmentValue, Hop, Reason, ServiceKey, ServiceValue, SocketKey, SocketValue,
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

    /// Runs [`start::flow`](crate::start::flow). A program has it in a function of its own, which the verifier
    /// looks at once.
    fn start<P: Packet, F: Flows>(
        &self,
        packet: &mut P,
        headers: &Headers,
        flows: &F,
        stage: Stage,
    ) -> Started
    where
        Self: Sized,
    {
        start::flow(packet, headers, self, flows, stage)
    }

    /// Runs [`attempt`](crate::pair::attempt), kept like `start`.
    fn attempt<F: Flows>(&self, key: &FlowKey, plan: &mut Plan, flows: &F, egress: bool) -> Claim
    where
        Self: Sized,
    {
        attempt(key, plan, self, flows, egress)
    }

    /// Runs [`translate_parsed`](crate::translate::translate_parsed), kept like `start`.
    fn translate<P: Room, F: Flows>(
        &self,
        packet: &mut P,
        headers: &mut Headers,
        flows: &F,
        stage: Stage,
    ) -> u64
    where
        Self: Sized,
    {
        translate_parsed(packet, headers, self, flows, stage)
    }

    /// Runs [`translate_icmp`](crate::translate::translate_icmp), kept like `start`.
    fn icmp<P: Room, F: Flows>(&self, packet: &mut P, headers: &Headers, flows: &F, stage: Stage) -> u64
    where
        Self: Sized,
    {
        translate_icmp(packet, headers, self, flows, stage)
    }

    /// Runs [`deliver`](crate::translate::deliver), kept like `start`.
    fn deliver<P: Room, E: FlowEntry>(
        &self,
        packet: &mut P,
        headers: &Headers,
        flow: &E,
        stage: Stage,
        moved: bool,
    ) -> u64
    where
        Self: Sized,
    {
        deliver(packet, headers, flow, self, stage, moved)
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

    /// Link address of the bridge that an interface is a port of.
    fn bridge(&self, ifindex: u32) -> Option<[Be16; 3]>;

    /// Source address of packets that leave by an interface, of the family that is asked for.
    fn source(&self, ifindex: u32, v4: bool) -> Addr;

    /// Differs from what it was if routes, neighbours or devices have changed since.
    fn route_generation(&self) -> u16;

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

/// The flows of one address family. Those that are not established are kept apart: whoever sends first
/// packets only cannot push out connections.
pub trait Flows {
    /// Whether its keys hold addresses of both families.
    const WIDE: bool;

    /// Handle of a flow entry in place.
    type Flow: FlowEntry;

    /// The flow entry.
    fn flow(&self, key: &FlowKey) -> Option<Self::Flow>;

    /// The entry of a flow that is not established.
    fn half_open(&self, key: &FlowKey) -> Option<Self::Flow>;

    /// Writes a flow entry, replacing the one there, among the flows of its state.
    ///
    /// # Errors
    /// [`Reason::FlowsFull`]
    fn put_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason>;

    /// Writes the entry of a flow that is not established, unless any flow has the key. Says whether it was
    /// written.
    ///
    /// # Errors
    /// [`Reason::FlowsFull`]
    fn claim_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<bool, Reason>;

    /// Moves an entry to the established flows; `value` is what it becomes.
    ///
    /// # Errors
    /// [`Reason::FlowsFull`]
    fn promote_flow(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Reason>;

    /// Removes a flow entry, if it is there.
    fn remove_flow(&self, key: &FlowKey);
}

/// One flow entry, read and changed in place: programs have little stack for copies.
pub trait FlowEntry {
    /// Where the entry lies, and whether it is of the wide form.
    #[cfg(target_arch = "bpf")]
    fn place(&self) -> (*mut core::ffi::c_void, bool);

    /// A copy of the entry.
    fn get(&self) -> FlowValue;

    /// `FLOW_*` bits.
    fn state(&self) -> u16;

    /// Sets the state bits and the time of the last packet.
    fn touch(&self, state: u16, now: u64);

    /// Sets the acknowledgment number of the latest packet.
    fn set_ack(&self, ack: Be32);

    /// Sets the state bits and the next hop.
    fn set_hop(&self, state: u16, hop: &Hop, mtu: u16, generation: u16);
}
