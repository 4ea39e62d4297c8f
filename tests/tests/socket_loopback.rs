//! Node ports at the node's own loopback, by the calls of sockets.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use seaway_common::{
    BACKEND_HOST, Config, Reason, SERVICE_EXTERNAL, SERVICE_GUARDED, SERVICE_LOOPBACK, SERVICE_LOOPBACK_NET,
    SourceRangeKey, proto,
};
use seaway_dataplane::Maps;
use seaway_ebpf::socket::{connect, sendmsg};
use seaway_harness::MemoryTables;
use seaway_tests::{
    call::{COOKIE, Call, change, send, shown},
    site::{BACKENDS, Site, Virtual, addr, key_of, patient},
};

const LOOPBACK: [&str; 2] = ["127.0.0.1:30080", "[::1]:30080"];
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// A node port in both families and both protocols, served at the loopback addresses.
fn node(flags: u32) -> MemoryTables {
    let mut all = Vec::new();
    for (vip, backends) in LOOPBACK.iter().zip(BACKENDS) {
        for proto in [proto::TCP, proto::UDP] {
            all.push(Virtual { vip: addr(vip), proto, backends: vec![addr(backends[0])] });
        }
    }
    let tables = Site::new(&all).tables;
    for service in &all {
        change(&tables, &key_of(service.vip, service.proto), |value| {
            value.flags |= SERVICE_EXTERNAL | SERVICE_LOOPBACK | flags;
        });
    }
    let mut maps = tables.maps().clone();
    let [snat_v4, snat_v6] = NODE.map(|text| text.parse::<IpAddr>().unwrap().into());
    maps.put_config(&Config { snat_v4, snat_v6, ..patient() }).unwrap();
    MemoryTables::new(maps)
}

/// Where a connect goes, and what its peer is called; `None` where it is left alone.
#[track_caller]
fn check(flags: u32, to: &str, own: Option<&str>, expected: Option<(&str, &str)>) {
    let tables = node(flags);
    for proto in [proto::TCP, proto::UDP] {
        let call = Call::new(COOKIE, proto, addr(to));
        let mut call = own.map_or(call.clone(), |own| call.bound(addr(own)));
        assert_eq!(connect(&mut call, &tables), Ok(()));
        assert_eq!(call.to(), addr(expected.map_or(to, |(goes, _)| goes)), "{to}");
        assert_eq!(shown(&tables, COOKIE, call.to()), addr(expected.map_or(to, |(_, named)| named)), "{to}");
    }
}

#[test]
fn node_ports_are_served_at_every_loopback_address_and_at_the_unspecified_ones() {
    let [v4, v6] = [BACKENDS[0][0], BACKENDS[1][0]];
    for to in ["127.0.0.1:30080", "127.0.0.2:30080", "127.255.0.9:30080", "[::ffff:127.0.0.2]:30080"] {
        let named = to.replace("[::ffff:127.0.0.2]", "127.0.0.2");
        check(SERVICE_LOOPBACK_NET, to, None, Some((v4, &named)));
    }
    check(SERVICE_LOOPBACK_NET, "0.0.0.0:30080", None, Some((v4, "127.0.0.1:30080")));
    check(SERVICE_LOOPBACK_NET, "[::]:30080", None, Some((v6, "[::1]:30080")));
    check(SERVICE_LOOPBACK_NET, "[::1]:30080", None, Some((v6, "[::1]:30080")));
    // The kernel sends what goes to 0.0.0.0 to the socket's own address.
    check(SERVICE_LOOPBACK_NET, "0.0.0.0:30080", Some("10.9.9.9:0"), None);
    check(SERVICE_LOOPBACK_NET, "127.0.0.2:30081", None, None);
}

#[test]
fn a_host_port_at_one_loopback_address_is_not_at_the_others() {
    check(0, "127.0.0.1:30080", None, Some((BACKENDS[0][0], "127.0.0.1:30080")));
    check(0, "0.0.0.0:30080", None, Some((BACKENDS[0][0], "127.0.0.1:30080")));
    check(0, "127.0.0.2:30080", None, None);
}

#[test]
fn a_pods_loopback_is_its_own() {
    let tables = node(SERVICE_LOOPBACK_NET);
    for to in ["127.0.0.1:30080", "127.0.0.2:30080", "0.0.0.0:30080", "[::]:30080", "[::1]:30080"] {
        let mut call = Call::new(COOKIE, proto::TCP, addr(to)).of_pod();
        assert_eq!(connect(&mut call, &tables), Ok(()));
        assert_eq!(call.to(), addr(to));
    }
}

/// The kernel takes no packet from loopback to elsewhere: such a connect would fail with `EINVAL`.
#[test]
fn a_socket_bound_to_loopback_gets_the_nodes_address_or_keeps_to_loopback() {
    for ((to, own), (node_address, backend)) in
        LOOPBACK.iter().zip(["127.0.0.1", "::1"]).zip(NODE.iter().zip([BACKENDS[0][0], BACKENDS[1][0]]))
    {
        let own: IpAddr = own.parse().unwrap();
        let tables = node(SERVICE_LOOPBACK_NET);
        let call = Call::new(COOKIE, proto::TCP, addr(to));
        let mut without_port = call.clone().bound(SocketAddr::new(own, 0));
        assert_eq!(connect(&mut without_port, &tables), Ok(()));
        assert_eq!((without_port.to(), without_port.own()), (addr(backend), node_address.parse().unwrap()));
        let mut with_port = call.bound(SocketAddr::new(own, 4000));
        assert_eq!(connect(&mut with_port, &tables), Ok(()));
        assert_eq!((with_port.to(), with_port.own()), (addr(to), own));
        let mut datagram = Call::new(COOKIE, proto::UDP, addr(to)).bound(SocketAddr::new(own, 4000));
        assert_eq!(sendmsg(&mut datagram, &tables), Ok(()));
        assert_eq!(datagram.to(), addr(to));
        // An endpoint on the node itself can be reached from there.
        tables.maps().memory_mut().backends.values_mut().for_each(|value| value.flags |= BACKEND_HOST);
        let mut near = Call::new(COOKIE, proto::TCP, addr(to)).bound(SocketAddr::new(own, 4000));
        assert_eq!(connect(&mut near, &tables), Ok(()));
        assert_eq!((near.to(), near.own()), (addr(backend), own));
    }
}

#[test]
fn source_ranges_are_those_of_the_bound_address_or_of_the_node() {
    let vip = addr("203.0.113.80:80");
    let tables =
        Site::new(&[Virtual { vip, proto: proto::UDP, backends: vec![addr(BACKENDS[0][0])] }]).tables;
    change(&tables, &key_of(vip, proto::UDP), |value| value.flags |= SERVICE_EXTERNAL | SERVICE_GUARDED);
    let mut maps = tables.maps().clone();
    let range = "192.0.2.0".parse::<IpAddr>().unwrap().into();
    maps.put_source_range(&SourceRangeKey { prefix_len: 32 + 120, service: 0, addr: range }).unwrap();
    let snat_v4 = NODE[0].parse::<IpAddr>().unwrap().into();
    maps.put_config(&Config { snat_v4, ..patient() }).unwrap();
    let tables = MemoryTables::new(maps);
    assert_eq!(send(&tables, vip), addr(BACKENDS[0][0]), "unbound: the node's address");
    for (own, expected) in [
        ("192.0.2.1:1", Ok(())),
        ("198.51.100.1:1", Err(Reason::SourceRange)),
        // A balancer's address that is the node's own is the node, as kube-proxy has it.
        ("203.0.113.80:1", Ok(())),
    ] {
        let mut call = Call::new(COOKIE + 1, proto::UDP, vip).bound(addr(own));
        assert_eq!(sendmsg(&mut call, &tables), expected, "{own}");
    }
}
