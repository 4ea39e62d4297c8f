//! Entries of the maps that make no sense: they do no harm to the others, and take no room.

#![forbid(unsafe_code)]

use std::sync::Arc;

use seaway_cluster::Snapshot;
use seaway_common::{BackendValue, Be16, Capacities, ServiceValue, Slice, proto};
use seaway_harness::{Faults, MemoryMaps};
use seaway_tests::{
    agreement::{contents, contents_of, settle, start},
    facts::snapshot_of,
    site::{addr, key_of},
};

/// Services with so many endpoints each, on port 80 of 10.96.0.1 and on.
fn services(endpoints: &[u8]) -> Arc<Snapshot> {
    let mut text = String::new();
    for (number, count) in (1..).zip(endpoints) {
        let addresses: Vec<_> = (1..=*count).map(|n| format!("{{addresses: [10.1.{number}.{n}]}}")).collect();
        text += &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\n\
             spec: {{clusterIP: 10.96.0.{number}, ports: [{{port: 80}}]}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}\n\
             addressType: IPv4\nports: [{{name: '', port: 80}}]\nendpoints: [{}]\n",
            addresses.join(", ")
        );
    }
    snapshot_of(&text)
}

/// Maps that show `before`, after `damage`, become what `after` wants by a restart alone.
#[track_caller]
fn check(slots: u32, before: &Arc<Snapshot>, damage: impl FnOnce(&MemoryMaps), after: &Arc<Snapshot>) {
    let maps = MemoryMaps::new(Capacities { slots, ..MemoryMaps::CAPACITIES });
    settle(&mut start(&maps, Faults::None), before, &mut 0);
    damage(&maps);
    let outcome = settle(&mut start(&maps, Faults::None), after, &mut 0);
    assert_eq!(outcome.full, []);
    assert_eq!(contents(&maps), contents_of(after), "\n{}", contents(&maps));
}

fn set_slices(maps: &MemoryMaps, service: u8, cluster: Slice, local: Slice) {
    let key = key_of(addr(&format!("10.96.0.{service}:80")), proto::TCP);
    let mut memory = maps.memory_mut();
    let value =
        memory.frontends.entry(key).or_insert(ServiceValue { service: 200, ..ServiceValue::default() });
    (value.cluster, value.local) = (cluster, local);
}

#[test]
fn slice_over_anothers_does_not_lend_its_slots() {
    let facts = services(&[5, 2]);
    check(64, &facts, |maps| set_slices(maps, 2, Slice { offset: 2, len: 2 }, Slice::default()), &facts);
}

#[test]
fn broken_entry_takes_no_slots() {
    let odd = Slice { offset: 1, len: 2 };
    let broken = |maps: &MemoryMaps| set_slices(maps, 9, Slice { offset: 4, len: 2 }, odd);
    check(6, &services(&[]), broken, &services(&[6]));
}

#[test]
fn id_of_a_stray_backends_service_is_not_given_out_before_it_is_cleared() {
    let stray = BackendValue {
        addr: addr("10.9.9.9:9").ip().into(),
        port: Be16::new(9),
        proto: proto::TCP,
        flags: seaway_common::BACKEND_SERVING,
        service: 0,
    };
    check(64, &services(&[]), |maps| _ = maps.memory_mut().backends.insert(7, stray), &services(&[2]));
}
