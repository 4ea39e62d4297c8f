//! What else can happen to maps: somebody writes to them, or a write was torn.

use proptest::prelude::*;
use seaway_common::{BACKEND_SERVING, BackendValue, Be16, NameValue, ServiceValue, Slice, proto};
use seaway_harness::{Memory, MemoryMaps};

use crate::site::{addr, key_of};

/// One change behind everybody's back. Numbers choose among what is there.
#[derive(Clone, Debug)]
pub enum Damage {
    /// A name that stands for no port.
    StrayName(u32, &'static str),
    /// A name is gone.
    NoName(usize),
    /// A second id has the name of another.
    SameName(usize, u32),
    /// A backend became a hole.
    Hole(usize),
    /// A backend is another one.
    OtherBackend(usize, u32),
    /// A backend stands twice.
    SameBackend(usize, u32),
    /// A backend that nobody wants.
    StrayBackend(u32, u32),
    /// A slot leads elsewhere.
    Slot(usize, u32),
    /// A frontend is gone.
    NoFrontend(usize),
    /// A frontend that nobody wants.
    StrayFrontend(u16, u32),
    /// A frontend's slice lies elsewhere: partly over another, at an odd offset, beyond the map.
    Slice(usize, u32, u32),
    /// A frontend belongs to another service port.
    OtherService(usize, u32),
}

/// Any damage.
pub fn damage() -> impl Strategy<Value = Damage> {
    let at = 0usize..40;
    let id = prop_oneof![0u32..30, 250u32..260, Just(u32::MAX)];
    let name = prop_oneof![Just("a/one:http"), Just("z/gone"), Just("nonsense"), Just("")];
    let offset = prop_oneof![0u32..30, 4090u32..4100, Just(u32::MAX)];
    let len = prop_oneof![0u32..8, Just(5000u32), Just(u32::MAX)];
    prop_oneof![
        (id.clone(), name).prop_map(|(id, name)| Damage::StrayName(id, name)),
        at.clone().prop_map(Damage::NoName),
        (at.clone(), id.clone()).prop_map(|(at, id)| Damage::SameName(at, id)),
        at.clone().prop_map(Damage::Hole),
        (at.clone(), id.clone()).prop_map(|(at, id)| Damage::OtherBackend(at, id)),
        (at.clone(), 0u32..30).prop_map(|(at, id)| Damage::SameBackend(at, id)),
        (0u32..30, id.clone()).prop_map(|(at, id)| Damage::StrayBackend(at, id)),
        (at.clone(), id.clone()).prop_map(|(at, id)| Damage::Slot(at, id)),
        at.clone().prop_map(Damage::NoFrontend),
        (80u16..83, id.clone()).prop_map(|(port, id)| Damage::StrayFrontend(port, id)),
        (at.clone(), offset, len).prop_map(|(at, offset, len)| Damage::Slice(at, offset, len)),
        (at, id).prop_map(|(at, id)| Damage::OtherService(at, id)),
    ]
}

impl Damage {
    /// Does it, where there is something to be damaged.
    pub fn inflict(&self, maps: &MemoryMaps) {
        let memory = &mut *maps.memory_mut();
        match *self {
            Self::StrayName(id, name) => _ = memory.names.insert(id, NameValue::new(name, proto::TCP, 4)),
            Self::StrayBackend(id, service) => {
                memory.backends.insert(id, backend(service));
            }
            Self::StrayFrontend(port, service) => {
                let slice = Slice { offset: 0, len: 2 };
                let value = ServiceValue { service, cluster: slice, local: slice, ..ServiceValue::default() };
                memory.frontends.insert(key_of(addr(&format!("10.96.0.1:{port}")), proto::TCP), value);
            }
            Self::NoName(at) | Self::SameName(at, _) => self.damage_names(memory, at),
            Self::Hole(at) | Self::OtherBackend(at, _) | Self::SameBackend(at, _) => {
                self.damage_backends(memory, at);
            }
            Self::Slot(at, id) => {
                if let Some(slot) = memory.slots.values_mut().nth(at) {
                    *slot = id;
                }
            }
            Self::NoFrontend(at) | Self::Slice(at, ..) | Self::OtherService(at, _) => {
                self.damage_frontends(memory, at);
            }
        }
    }

    fn damage_names(&self, memory: &mut Memory, at: usize) {
        let Some((id, name)) = memory.names.iter().nth(at).map(|(id, name)| (*id, *name)) else { return };
        match *self {
            Self::NoName(_) => _ = memory.names.remove(&id),
            Self::SameName(_, other) => _ = memory.names.insert(other, name),
            _ => {}
        }
    }

    fn damage_backends(&self, memory: &mut Memory, at: usize) {
        let Some((id, value)) = memory.backends.iter().nth(at).map(|(id, value)| (*id, *value)) else {
            return;
        };
        match *self {
            Self::Hole(_) => _ = memory.backends.remove(&id),
            Self::OtherBackend(_, service) => _ = memory.backends.insert(id, backend(service)),
            Self::SameBackend(_, other) => _ = memory.backends.insert(other, value),
            _ => {}
        }
    }

    fn damage_frontends(&self, memory: &mut Memory, at: usize) {
        let Some(key) = memory.frontends.keys().nth(at).copied() else { return };
        match (self, memory.frontends.get_mut(&key)) {
            (Self::Slice(_, offset, len), Some(value)) => {
                value.cluster = Slice { offset: *offset, len: *len }
            }
            (Self::OtherService(_, service), Some(value)) => value.service = *service,
            _ => _ = memory.frontends.remove(&key),
        }
    }
}

fn backend(service: u32) -> BackendValue {
    let stray = addr("10.9.9.9:9");
    BackendValue {
        addr: stray.ip().into(),
        port: Be16::new(stray.port()),
        proto: proto::TCP,
        flags: BACKEND_SERVING,
        service,
    }
}
