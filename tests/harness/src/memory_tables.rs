//! The tables behind the programs' logic, in plain memory.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap, VecDeque},
};

use seaway_common::{
    Addr, AffinityKey, AffinityValue, BackendCounters, BackendValue, Be16, Config, DEVICE_XDP_TRANSMIT,
    FragmentKey, FragmentValue, Reason, ServiceCounters, ServiceKey, ServiceValue, SocketKey, SocketValue,
};
use seaway_dataplane::Maps;
use seaway_ebpf::Tables;

use crate::MemoryMaps;

/// Services from [`MemoryMaps`], and whatever else the logic reads and writes, flows aside.
#[derive(Debug)]
pub struct MemoryTables {
    maps: MemoryMaps,
    sockets: RefCell<HashMap<SocketKey, SocketValue>>,
    packets: RefCell<BTreeMap<u32, BackendCounters>>,
    connections: RefCell<BTreeMap<u32, ServiceCounters>>,
    fragments: RefCell<HashMap<FragmentKey, FragmentValue>>,
    turns: RefCell<BTreeMap<u32, u64>>,
    open: RefCell<BTreeMap<u32, u64>>,
    /// As `CONFIG` was when the tables were made.
    config: Config,
    now: Cell<u64>,
    stands_in: Cell<bool>,
    randoms: RefCell<VecDeque<u32>>,
}

impl MemoryTables {
    /// Ticks a second.
    pub const TICKS_PER_S: u64 = 250;

    /// Tables on these maps.
    #[must_use]
    pub fn new(maps: MemoryMaps) -> Self {
        let config = maps.memory().config;
        Self {
            config,
            fragments: RefCell::default(),
            turns: RefCell::default(),
            open: RefCell::default(),
            maps,
            sockets: RefCell::default(),
            packets: RefCell::default(),
            connections: RefCell::default(),
            now: Cell::new(1_000_000),
            stands_in: Cell::new(false),
            randoms: RefCell::default(),
        }
    }

    /// The maps.
    pub const fn maps(&self) -> &MemoryMaps {
        &self.maps
    }

    /// Lets so many ticks pass.
    pub fn pass(&self, ticks: u64) {
        self.now.set(self.now.get() + ticks);
    }

    /// The server of this node's agent stands in from now on, or does not.
    pub fn stand_in(&self, stands_in: bool) {
        self.stands_in.set(stands_in);
    }

    /// The next random numbers; after them come zeros, which choose a slice's first slot.
    pub fn set_randoms(&self, randoms: impl IntoIterator<Item = u32>) {
        *self.randoms.borrow_mut() = randoms.into_iter().collect();
    }

    /// Packets counted towards a backend.
    #[must_use]
    pub fn backend_counters(&self, id: u32) -> BackendCounters {
        self.packets.borrow().get(&id).copied().unwrap_or_default()
    }

    /// Connections counted for a service port.
    #[must_use]
    pub fn service_counters(&self, id: u32) -> ServiceCounters {
        self.connections.borrow().get(&id).copied().unwrap_or_default()
    }

    /// How many entries a socket has.
    #[must_use]
    pub fn entries_of(&self, cookie: u64) -> usize {
        self.sockets.borrow().keys().filter(|key| key.cookie == cookie).count()
    }
}

impl Tables for MemoryTables {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn address(&self, addr: &Addr) -> u32 {
        self.maps.memory().addresses.get(addr).copied().unwrap_or(0)
    }

    fn in_source_ranges(&self, service: u32, client: &Addr) -> bool {
        let bits =
            |addr: &Addr| addr.words().iter().fold(0u128, |all, word| all << 32 | u128::from(word.get()));
        let memory = self.maps.memory();
        memory.source_ranges.iter().filter(|range| range.service == service).any(|range| {
            let host = 160 - range.prefix_len.clamp(32, 160);
            (bits(&range.addr) ^ bits(client)).checked_shr(host).unwrap_or(0) == 0
        })
    }

    fn affinity(&self, key: &AffinityKey) -> Option<AffinityValue> {
        self.maps.memory().affinity.get(key).copied()
    }

    fn put_affinity(&self, key: &AffinityKey, value: &AffinityValue) {
        self.maps.memory_mut().affinity.insert(*key, *value);
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.fragments.borrow().get(key).copied()
    }

    fn put_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        self.fragments.borrow_mut().insert(*key, *value);
    }

    fn turn(&self, service: u32) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }

    fn connections(&self, backend: u32) -> u64 {
        self.open.borrow().get(&backend).copied().unwrap_or(0)
    }

    fn count_open(&self, backend: u32, opened: bool) {
        let mut open = self.open.borrow_mut();
        let count = open.entry(backend).or_default();
        *count = if opened { *count + 1 } else { count.saturating_sub(1) };
    }

    fn device(&self, _ifindex: u32) -> u32 {
        DEVICE_XDP_TRANSMIT
    }

    fn bridge(&self, _ifindex: u32) -> Option<[Be16; 3]> {
        None
    }

    fn source(&self, _ifindex: u32, _v4: bool) -> Addr {
        Addr::default()
    }

    fn route_generation(&self) -> u16 {
        0
    }

    fn stands_in(&self) -> bool {
        self.stands_in.get()
    }

    fn service(&self, key: &ServiceKey) -> Option<ServiceValue> {
        self.maps.memory().frontends.get(key).copied()
    }

    fn slot(&self, index: u32) -> Option<u32> {
        let exists = index < self.maps.capacities().slots;
        exists.then(|| self.maps.memory().slots.get(&index).copied().unwrap_or(0))
    }

    fn backend(&self, id: u32) -> Option<BackendValue> {
        let exists = id < self.maps.capacities().backends;
        exists.then(|| self.maps.memory().backends.get(&id).copied().unwrap_or_default())
    }

    fn socket(&self, key: &SocketKey) -> Option<SocketValue> {
        self.sockets.borrow().get(key).copied()
    }

    fn put_socket(&self, key: &SocketKey, value: &SocketValue) -> Result<(), Reason> {
        let mut sockets = self.sockets.borrow_mut();
        if sockets.len() >= self.maps.capacities().sockets as usize && !sockets.contains_key(key) {
            return Err(Reason::SocketsFull);
        }
        sockets.insert(*key, *value);
        Ok(())
    }

    fn remove_socket(&self, key: &SocketKey) {
        self.sockets.borrow_mut().remove(key);
    }

    fn count_packet(&self, backend: u32, bytes: usize) {
        let mut packets = self.packets.borrow_mut();
        let counters = packets.entry(backend).or_default();
        counters.packets += 1;
        counters.bytes += bytes as u64;
    }

    fn count_connection(&self, service: u32, placed: bool) {
        let mut connections = self.connections.borrow_mut();
        let counters = connections.entry(service).or_default();
        *(if placed { &mut counters.placed } else { &mut counters.refused }) += 1;
    }

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn ticks_per_s(&self) -> u64 {
        Self::TICKS_PER_S
    }

    fn random(&self) -> u32 {
        self.randoms.borrow_mut().pop_front().unwrap_or(0)
    }
}
