//! Socket calls to services, on the host: what becomes of their addresses, and what is remembered.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use seaway_common::{
    ADDRESS_CLUSTER_IP, Action, BackendValue, CONFIG_ROUTED_V4, Config, Reason, Slice, proto,
};
use seaway_dataplane::Maps;
use seaway_ebpf::socket::{connect, sendmsg};
use seaway_harness::MemoryTables;
use seaway_tests::{
    call::{COOKIE, Call, change, send, shown},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, key_of, patient, services},
};

/// Of a ping socket.
const ICMP: u8 = 1;

#[test]
fn connect_goes_to_a_backend_and_getpeername_shows_the_service() {
    let tables = Site::new(&services(3)).tables;
    for (vip, backends) in VIP.iter().zip(BACKENDS) {
        for (proto, cookie) in [(proto::TCP, 1), (proto::UDP, 2)] {
            for (random, backend) in [(0, backends[0]), (u32::MAX, backends[2])] {
                tables.set_randoms([0, random]);
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

/// Nothing is sent by it, and glibc sorts the addresses of a name by whether it succeeds.
#[test]
fn connect_without_tcp_never_fails_for_want_of_a_port_or_an_endpoint() {
    let mut all = services(0);
    all.retain(|service| service.proto == proto::UDP);
    let tables = Site::new(&all).tables;
    for vip in VIP.map(addr) {
        tables.maps().memory_mut().addresses.insert(vip.ip().into(), ADDRESS_CLUSTER_IP);
        let undefined = SocketAddr::new(vip.ip(), 9);
        for (proto, to) in [(proto::UDP, vip), (proto::UDP, undefined), (ICMP, SocketAddr::new(vip.ip(), 0))]
        {
            let mut call = Call::new(COOKIE, proto, to);
            assert_eq!(connect(&mut call, &tables), Ok(()), "{proto} {to}");
            assert_eq!(call.to(), to);
        }
        let refused = |to| connect(&mut Call::new(COOKIE, proto::TCP, to), &tables);
        assert_eq!(refused(undefined), Err(Reason::UndefinedPort));
        assert_eq!(
            sendmsg(&mut Call::new(COOKIE, proto::UDP, undefined), &tables),
            Err(Reason::UndefinedPort)
        );
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
    tables.set_randoms([0, u32::MAX]);
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
        tables.set_randoms([0, u32::MAX]);
        assert_eq!(send(&tables, vip), addr(BACKENDS[0][2]));
        tables
    };
    // It is retired; its id becomes a hole, or another address's, or another service's same address's.
    let left: [fn(BackendValue) -> BackendValue; 4] = [
        |value| BackendValue { flags: 0, ..value },
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
    assert_eq!(Reason::SocketsFull.action(), Action::Pass);
}

/// Two services on one endpoint.
fn shared() -> (Site, [SocketAddr; 2], SocketAddr) {
    let backends = vec![addr(BACKENDS[0][0])];
    let [one, two] = ["10.96.0.1:53", "10.96.0.2:53"].map(addr);
    let service = |vip| Virtual { vip, proto: proto::UDP, backends: backends.clone() };
    let mut site = Site::new(&[service(one), service(two)]);
    let mut maps = site.tables.maps().clone();
    maps.put_config(&Config { flags: CONFIG_ROUTED_V4, ..patient() }).unwrap();
    site.tables = MemoryTables::new(maps);
    (site, [one, two], backends[0])
}

#[test]
fn a_second_service_with_the_same_backend_is_left_to_packets() {
    let (site, [one, two], backend) = shared();
    let tables = site.tables;
    for vip in [one, two, one, one, two] {
        assert_eq!(send(&tables, vip), if vip == one { backend } else { two });
        assert_eq!(shown(&tables, COOKIE, backend), one);
        assert_eq!(shown(&tables, COOKIE, two), two);
    }
    change(&tables, &key_of(two, proto::UDP), |_| {});
    assert_eq!(send(&tables, two), two, "for the life of the socket");
}

#[test]
fn a_pods_socket_without_a_program_on_its_way_is_answered_by_the_service_asked_last() {
    let (site, [one, two], backend) = shared();
    for vip in [one, two, one, one, two] {
        let mut call = Call::new(COOKIE, proto::UDP, vip).of_pod();
        assert_eq!(sendmsg(&mut call, &site.tables), Ok(()));
        assert_eq!(call.to(), backend);
        assert_eq!(shown(&site.tables, COOKIE, backend), vip);
    }
}

/// The kernel hands over the peer's address again for each datagram of an IPv6 socket to an IPv4 peer.
#[test]
fn a_connected_socket_keeps_the_name_of_its_peer() {
    let (site, [one, _], backend) = shared();
    let mut call = Call::new(COOKIE, proto::UDP, one);
    assert_eq!(connect(&mut call, &site.tables), Ok(()));
    let mut again = Call::new(COOKIE, proto::UDP, backend).connected();
    assert_eq!(sendmsg(&mut again, &site.tables), Ok(()));
    assert_eq!(shown(&site.tables, COOKIE, backend), one);
}

#[test]
fn a_backend_that_is_asked_by_its_own_address_answers_by_it() {
    let (site, [one, _], backend) = shared();
    let tables = site.tables;
    assert_eq!(send(&tables, one), backend);
    assert_eq!(shown(&tables, COOKIE, backend), one);
    assert_eq!(send(&tables, backend), backend);
    assert_eq!(shown(&tables, COOKIE, backend), backend);
    assert_eq!(send(&tables, one), one, "by its packets from now on");
}
