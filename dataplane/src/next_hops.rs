//! Next hops of packets that go past the stack, kept fresh by a thread of its own.
//!
//! The programs look routes and neighbours up and keep what they found, and the kernel sees none of these
//! packets. So the thread does what the stack does otherwise: it changes the map `ROUTE_GENERATION` when a
//! route, rule, device, address or neighbour is another one, and has stale neighbours probed where programs
//! are attached. It is a thread since the agent's loop may be busy for longer than packets may go astray.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::links::Links;
use crate::maps;
use crate::neighbours::{self, Neighbour, Neighbours};
use crate::netlink::{self, Received, Subscription};
use crate::route_generation::RouteGeneration;

/// `RTNLGRP_*`: links, neighbours, IPv4 addresses, routes and rules, and those of IPv6.
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;

/// The number changes this often at most: what many routes change one after the other is looked up again once.
const BUMP_EVERY: Duration = Duration::from_millis(20);
/// Probes are sent in such bursts, so that a node with thousands of neighbours does not flood its network.
const PROBE_EVERY: Duration = Duration::from_millis(250);
const PROBES_AT_ONCE: usize = 16;
/// The set of interfaces is looked at this often where nothing else happens.
const IDLE: Duration = Duration::from_secs(1);
/// Stale neighbours that wait for their probe; a later one is found when it becomes stale again.
const WAITING_MAX: usize = 4_096;

/// The thread, which lives as long as the process.
#[derive(Clone, Debug)]
pub struct NextHops {
    interfaces: Arc<Mutex<Interfaces>>,
}

#[derive(Debug, Default)]
struct Interfaces {
    indexes: BTreeSet<u32>,
    changed: bool,
}

/// Why next hops cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket, or no thread.
    #[error("cannot follow neighbours and routes")]
    Open(#[source] io::Error),
    /// The map.
    #[error(transparent)]
    Map(#[from] maps::Error),
}

impl NextHops {
    /// Starts the thread, in the calling thread's network namespace, for the pinned maps in `folder`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn follow(folder: &Path) -> Result<Self, Error> {
        let generation = RouteGeneration::open(folder)?;
        let subscription = Subscription::new(&GROUPS).map_err(Error::Open)?;
        let interfaces = Arc::new(Mutex::new(Interfaces::default()));
        let thread = Thread {
            generation,
            interfaces: Arc::clone(&interfaces),
            neighbours: Neighbours::default(),
            devices: BTreeMap::new(),
            waiting: VecDeque::new(),
            probed: None,
            bumped: None,
            due: false,
        };
        let run = move || {
            if let Err(error) = thread.run(&subscription) {
                tracing::error!(%error, "neighbours and routes are no longer followed; restart the agent");
            }
        };
        thread::Builder::new().name("next-hops".into()).spawn(run).map_err(Error::Open)?;
        Ok(Self { interfaces })
    }

    /// The programs are attached to these interfaces: their neighbours are probed. Those of a port are
    /// neighbours of its bridge.
    pub fn note_interfaces<'a>(&self, names: impl IntoIterator<Item = &'a String>, links: &Links) {
        let mut indexes = BTreeSet::new();
        for (index, device) in names.into_iter().filter_map(|name| links.named(name)) {
            indexes.extend([index].into_iter().chain(device.master));
        }
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        interfaces.changed |= interfaces.indexes != indexes;
        interfaces.indexes = indexes;
    }
}

struct Thread {
    generation: RouteGeneration,
    interfaces: Arc<Mutex<Interfaces>>,
    neighbours: Neighbours,
    /// What of each device packets depend on.
    devices: BTreeMap<i32, DeviceState>,
    /// Stale neighbours to be probed.
    waiting: VecDeque<Neighbour>,
    probed: Option<Instant>,
    bumped: Option<Instant>,
    /// The number has to change.
    due: bool,
}

impl Thread {
    fn run(mut self, subscription: &Subscription) -> io::Result<()> {
        // An earlier agent's flows may have missed anything.
        self.due = true;
        self.list()?;
        loop {
            self.bump();
            self.probe();
            subscription.set_patience(Some(self.patience()))?;
            match subscription.receive()? {
                Received::Nothing => {}
                Received::Datagram(bytes) => {
                    for (kind, payload) in netlink::messages(&bytes) {
                        self.due |= self.matters(kind, payload);
                    }
                }
                Received::Lost => {
                    self.due = true;
                    self.list()?;
                }
            }
        }
    }

    /// Until when there may be something to do without a message.
    fn patience(&self) -> Duration {
        let left = |since: Option<Instant>, every: Duration| {
            every.saturating_sub(since.map_or(every, |since| since.elapsed())).max(Duration::from_millis(1))
        };
        let bump = if self.due { left(self.bumped, BUMP_EVERY) } else { IDLE };
        bump.min(if self.waiting.is_empty() { IDLE } else { left(self.probed, PROBE_EVERY) })
    }

    fn list(&mut self) -> io::Result<()> {
        self.due |= self.neighbours.replace(neighbours::list()?);
        // Those that are stale already are to be found.
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).changed = true;
        Ok(())
    }

    /// Whether a message is about something that packets depend on.
    fn matters(&mut self, kind: u16, payload: &[u8]) -> bool {
        match kind {
            RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE | RTM_NEWADDR | RTM_DELADDR => true,
            RTM_NEWLINK | RTM_DELLINK => {
                let Some((index, state)) = DeviceState::read(payload) else { return false };
                match kind {
                    RTM_DELLINK => self.devices.remove(&index).is_some(),
                    _ => self.devices.insert(index, state) != Some(state),
                }
            }
            neighbours::NEW | neighbours::GONE => {
                let Some((neighbour, entry)) = neighbours::read(payload) else { return false };
                if kind == neighbours::NEW && entry.stale {
                    self.queue(neighbour);
                }
                self.neighbours.note(kind, neighbour, entry)
            }
            _ => false,
        }
    }

    fn queue(&mut self, neighbour: Neighbour) {
        let interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        if interfaces.indexes.contains(&neighbour.interface) && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(neighbour);
        }
    }

    fn bump(&mut self) {
        if !self.due || self.bumped.is_some_and(|at| at.elapsed() < BUMP_EVERY) {
            return;
        }
        (self.due, self.bumped) = (false, Some(Instant::now()));
        if let Err(error) = self.generation.bump() {
            // Tried again with the next change, and by the programs' own clock until then.
            tracing::warn!(error = &error as &dyn std::error::Error, "next hops may be out of date");
        }
    }

    fn probe(&mut self) {
        let mut interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut interfaces.changed) {
            let stale = self.neighbours.stale(|index| interfaces.indexes.contains(&index));
            self.waiting = stale.take(WAITING_MAX).collect();
        }
        drop(interfaces);
        if self.waiting.is_empty() || self.probed.is_some_and(|at| at.elapsed() < PROBE_EVERY) {
            return;
        }
        self.probed = Some(Instant::now());
        let mut sent = 0;
        while let Some(neighbour) = self.waiting.pop_front() {
            if !self.neighbours.is_stale(&neighbour) {
                continue;
            }
            if let Err(error) = neighbours::probe(neighbour) {
                tracing::debug!(?neighbour, %error, "cannot probe");
            }
            sent += 1;
            if sent == PROBES_AT_ONCE {
                return;
            }
        }
    }
}

/// What of a device packets depend on: that it is up, its address and its MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DeviceState {
    flags: u32,
    link_address: [u8; 6],
    mtu: u32,
    master: u32,
}

impl DeviceState {
    /// Reads `struct ifinfomsg` and what follows it. None if the message is about a bridge's port as such.
    fn read(payload: &[u8]) -> Option<(i32, Self)> {
        const LENGTH: usize = 16;
        const IFLA_ADDRESS: u16 = 1;
        const IFLA_MTU: u16 = 4;
        const IFLA_MASTER: u16 = 10;
        /// `IFF_UP`, `IFF_RUNNING` and `IFF_LOWER_UP`.
        const STATE: u32 = 1 | 1 << 6 | 1 << 16;

        let word = |at: usize| payload.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        if payload.first() != Some(&0) {
            return None;
        }
        let index = i32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
        let mut state = Self { flags: word(8)? & STATE, link_address: [0; 6], mtu: 0, master: 0 };
        let number = |value: &[u8]| value.try_into().map_or(0, u32::from_ne_bytes);
        for (kind, value) in netlink::attributes(payload.get(LENGTH..)?) {
            match kind {
                IFLA_ADDRESS => state.link_address = value.try_into().unwrap_or_default(),
                IFLA_MTU => state.mtu = number(value),
                IFLA_MASTER => state.master = number(value),
                _ => {}
            }
        }
        Some((index, state))
    }
}
