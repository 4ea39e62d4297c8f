//! Socket calls to services, on the host: what becomes of their addresses, and what is remembered.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use proptest::{collection::vec, prelude::*};
use seaway_common::{BackendValue, Reason, SOCKET_CHAIN_MAX, ServiceKey, ServiceValue, Slice, proto};
use seaway_dataplane::Maps;
use seaway_ebpf::socket::{connect, release, restore, sendmsg};
use seaway_harness::MemoryTables;
use seaway_tests::{
    call::Call,
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, key_of, services},
};

const COOKIE: u64 = 77;

/// What `restore` shows a socket for `remote`.
fn shown(tables: &MemoryTables, cookie: u64, remote: SocketAddr) -> SocketAddr {
    let mut call = Call::new(cookie, proto::UDP, remote);
    restore(&mut call, tables);
    call.to()
}

/// Where a datagram of the socket [`COOKIE`] to `vip` goes.
#[track_caller]
fn send(tables: &MemoryTables, vip: SocketAddr) -> SocketAddr {
    let mut call = Call::new(COOKIE, proto::UDP, vip);
    assert_eq!(sendmsg(&mut call, tables), Ok(()));
    call.to()
}

/// Writes a service entry anew, as an update does.
fn change(tables: &MemoryTables, key: &ServiceKey, change: impl FnOnce(&mut ServiceValue)) {
    let mut memory = tables.maps().memory_mut();
    let value = memory.frontends.get_mut(key).unwrap();
    value.generation += 1000;
    change(value);
}

#[test]
fn connect_goes_to_a_backend_and_getpeername_shows_the_service() {
    let tables = Site::new(&services(3)).tables;
    for (vip, backends) in VIP.iter().zip(BACKENDS) {
        for (proto, cookie) in [(proto::TCP, 1), (proto::UDP, 2)] {
            for (random, backend) in [(0, backends[0]), (u32::MAX, backends[2])] {
                tables.set_randoms([random]);
                let mut call = Call::new(cookie, proto, addr(vip));
                assert_eq!(connect(&mut call, &tables), Ok(()));
                assert_eq!(call.to(), addr(backend));
                assert_eq!(shown(&tables, cookie, call.to()), addr(vip));
                assert_eq!(shown(&tables, 99, call.to()), call.to(), "another socket");
            }
        }
    }
    assert_eq!(tables.service_counters(0).placed, 2);
}

#[test]
fn mapped_address_is_the_ipv4_service() {
    let tables = Site::new(&services(1)).tables;
    let mut call = Call::new(COOKIE, proto::TCP, addr("[::ffff:10.96.0.80]:8080"));
    assert_eq!(connect(&mut call, &tables), Ok(()));
    // `Call` shows mapped addresses as what they stand for.
    assert_eq!(call.to(), addr(BACKENDS[0][0]));
    assert_eq!(shown(&tables, COOKIE, addr("[::ffff:10.1.1.111]:80")), addr(VIP[0]));
}

#[test]
fn other_addresses_are_left_alone() {
    let mut all = services(1);
    all.retain(|service| service.proto == proto::TCP);
    let tables = Site::new(&all).tables;
    for (to, proto) in [(CLIENT[0], proto::TCP), ("10.96.0.80:8081", proto::TCP), (VIP[0], proto::UDP)] {
        for call in [connect, sendmsg] {
            let mut own = Call::new(COOKIE, proto, addr(to));
            assert_eq!(call(&mut own, &tables), Ok(()));
            assert_eq!(own.to(), addr(to));
        }
    }
    assert_eq!(tables.entries_of(COOKIE), 0);
}

#[test]
fn service_without_endpoints_refuses() {
    let tables = Site::new(&services(0)).tables;
    for (call, proto, service) in [(connect as fn(&mut _, &_) -> _, proto::TCP, 0), (sendmsg, proto::UDP, 1)]
    {
        let mut own = Call::new(COOKIE, proto, addr(VIP[0]));
        assert_eq!(call(&mut own, &tables), Err(Reason::NoEndpoint));
        assert_eq!(own.to(), addr(VIP[0]));
        assert_eq!(tables.service_counters(service).refused, 1);
    }
    assert_eq!(tables.entries_of(COOKIE), 0);
}

#[test]
fn hole_behind_a_service_refuses() {
    let tables = Site::new(&services(1)).tables;
    tables.maps().memory_mut().backends.clear();
    for call in [connect, sendmsg] {
        let mut own = Call::new(COOKIE, proto::UDP, addr(VIP[0]));
        assert_eq!(call(&mut own, &tables), Err(Reason::Inconsistent));
        assert_eq!(own.to(), addr(VIP[0]));
    }
}

#[test]
fn datagrams_stay_with_their_backend_across_updates_that_do_not_concern_it() {
    let tables = Site::new(&services(3)).tables;
    let (vip, key) = (addr(VIP[0]), key_of(addr(VIP[0]), proto::UDP));
    tables.set_randoms([u32::MAX]);
    let backend = addr(BACKENDS[0][2]);
    assert_eq!([send(&tables, vip), send(&tables, vip)], [backend; 2]);
    assert_eq!(shown(&tables, COOKIE, backend), vip);
    change(&tables, &key, |_| {});
    assert_eq!(send(&tables, vip), backend);
    assert_eq!(tables.service_counters(1).placed, 1);
}

#[test]
fn datagrams_move_when_their_backend_leaves() {
    let [vip, other] = [addr(VIP[0]), addr(BACKENDS[0][0])];
    let key = key_of(vip, proto::UDP);
    let start = || {
        let tables = Site::new(&services(3)).tables;
        tables.set_randoms([u32::MAX]);
        assert_eq!(send(&tables, vip), addr(BACKENDS[0][2]));
        tables
    };
    // Its id becomes a hole, or is given to another address, or to another service's same address.
    let left: [fn(BackendValue) -> BackendValue; 3] = [
        |_| BackendValue::default(),
        |value| BackendValue { addr: addr(CLIENT[0]).ip().into(), ..value },
        |value| BackendValue { service: 3, ..value },
    ];
    for gone in left {
        let mut tables = start();
        change(&tables, &key, |value| value.cluster.len -= 1);
        let id = 6;
        let value = gone(tables.maps().memory().backends[&id]);
        let mut maps = tables.maps().clone();
        maps.put_backend(id, &value).unwrap();
        assert_eq!(send(&tables, vip), other);
        assert_eq!(send(&tables, vip), other);
        assert_eq!(shown(&tables, COOKIE, other), vip);
        tables = start();
        change(&tables, &key, |value| value.cluster = Slice::default());
        maps = tables.maps().clone();
        maps.put_backend(id, &value).unwrap();
        let mut call = Call::new(COOKIE, proto::UDP, vip);
        assert_eq!(sendmsg(&mut call, &tables), Err(Reason::NoEndpoint));
    }
}

#[test]
fn answers_of_two_services_are_told_apart_by_their_backends() {
    let all: Vec<_> = ["10.96.0.1:53", "10.96.0.2:53"]
        .iter()
        .zip(BACKENDS[0])
        .map(|(vip, backend)| Virtual { vip: addr(vip), proto: proto::UDP, backends: vec![addr(backend)] })
        .collect();
    let tables = Site::new(&all).tables;
    for service in &all {
        assert_eq!(send(&tables, service.vip), service.backends[0]);
    }
    for service in &all {
        assert_eq!(shown(&tables, COOKIE, service.backends[0]), service.vip);
    }
    assert_eq!(shown(&tables, COOKIE, addr(CLIENT[0])), addr(CLIENT[0]));
}

#[test]
fn full_socket_table_lets_the_call_go_on() {
    let tables = Site::new(&services(1)).tables;
    let sockets = u64::from(tables.maps().capacities().sockets);
    let mut last = Ok(());
    for cookie in 0..sockets {
        let mut call = Call::new(cookie, proto::TCP, addr(VIP[0]));
        last = connect(&mut call, &tables);
        assert_eq!(call.to(), addr(BACKENDS[0][0]));
    }
    assert_eq!(last, Err(Reason::SocketsFull));
    assert!(!Reason::SocketsFull.drops());
}

/// Services for a socket with many: the first two backends are shared by all.
fn many() -> Vec<Virtual> {
    let vip = |n: u16| SocketAddr::new([10, 96, 1, 1].into(), n);
    let own = |n: u16| SocketAddr::new([10, 1, 2, 1].into(), n);
    let backends = |n: u16| vec![addr(BACKENDS[0][0]), addr(BACKENDS[0][1]), own(n)];
    (1..=20).map(|n| Virtual { vip: vip(n), proto: proto::UDP, backends: backends(n) }).collect()
}

proptest! {
    /// However a socket came to its entries, closing it leaves none, up to the limit of the chain.
    #[test]
    fn closed_socket_leaves_no_entry(
        calls in vec((0usize..20, any::<u32>(), any::<bool>(), 0u32..10), 0..120),
    ) {
        let all = many();
        let tables = Site::new(&all).tables;
        let neighbour = Call::new(COOKIE + 1, proto::UDP, all[0].vip);
        connect(&mut neighbour.clone(), &tables).unwrap();
        for (service, random, by_connect, update) in calls {
            if tables.entries_of(COOKIE) as u32 > SOCKET_CHAIN_MAX - 2 {
                break;
            }
            let vip = all[service].vip;
            if update == 0 {
                // Its backends leave: the next datagram is placed anew.
                change(&tables, &key_of(vip, proto::UDP), |_| {});
                let service = service as u32;
                tables.maps().memory_mut().backends.values_mut().filter(|value| value.service == service)
                    .for_each(|value| value.port = seaway_common::Be16::new(value.port.get() + 100));
            }
            tables.set_randoms([random]);
            let mut call = Call::new(COOKIE, proto::UDP, vip);
            let result = if by_connect { connect(&mut call, &tables) } else { sendmsg(&mut call, &tables) };
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(shown(&tables, COOKIE, call.to()), vip);
        }
        release(COOKIE, &tables);
        prop_assert_eq!(tables.entries_of(COOKIE), 0);
        prop_assert_eq!(tables.entries_of(COOKIE + 1), 2);
        release(COOKIE + 1, &tables);
        prop_assert_eq!(tables.entries_of(COOKIE + 1), 0);
    }
}

#[test]
fn release_takes_as_many_entries_as_the_chain_may_have() {
    let tables = Site::new(&many()).tables;
    for turn in 0..4u32 {
        for service in many() {
            tables.set_randoms([turn * (u32::MAX / 3)]);
            connect(&mut Call::new(COOKIE, proto::UDP, service.vip), &tables).unwrap();
            if tables.entries_of(COOKIE) < 24 {
                continue;
            }
        }
    }
    // The head and one entry for each of 22 backends; then one more service at a time by datagrams.
    let before = tables.entries_of(COOKIE);
    for service in many() {
        if tables.entries_of(COOKIE) as u32 <= SOCKET_CHAIN_MAX {
            send(&tables, service.vip);
        }
    }
    assert!(tables.entries_of(COOKIE) > before && tables.entries_of(COOKIE) as u32 <= SOCKET_CHAIN_MAX + 1);
    release(COOKIE, &tables);
    assert_eq!(tables.entries_of(COOKIE), 0);
}
