//! Packets to services and back, on the host: what becomes of every kind.

#![forbid(unsafe_code)]

use seaway_common::{ADDRESS_CLUSTER_IP, ADDRESS_EXTERNAL, ADDRESS_OWN, Action, Reason, proto};
use seaway_ebpf::{Stage, Verdict};
use seaway_harness::MemoryPacket;
use seaway_tests::{
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, Virtual, addr, openings, services},
};

#[test]
fn new_flow_goes_to_a_backend_and_its_replies_come_from_the_service() {
    let site = Site::new(&services(3));
    for (frame, backend, _) in openings() {
        site.check(&frame, &frame.to(backend));
        let answer = if frame.kind == Kind::Syn { Kind::SynAck } else { Kind::Datagram };
        let reply = frame.to(backend).reply(answer);
        let mut arriving = MemoryPacket::new(reply.bytes());
        assert_eq!(site.pass_by(&mut arriving, Stage::Ingress), Ok(Verdict::NotOurs));
        assert_eq!(arriving.bytes, reply.bytes(), "the stack has to know the endpoint's reply");
        site.check(&reply, &frame.reply(answer));
        let next = Frame { kind: if frame.kind == Kind::Syn { Kind::Ack } else { Kind::Datagram }, ..frame };
        site.check(&next, &next.to(backend));
    }
    assert_eq!((site.v4.all().len(), site.v6.all().len()), (4, 4));
}

#[test]
fn established_flow_keeps_its_backend_and_new_ones_are_spread() {
    let site = Site::new(&services(3));
    let [first, second, third] = [0, u32::MAX / 2, u32::MAX];
    let open = Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn);
    for (port, random, backend) in
        [(1, first, "10.1.1.111:80"), (2, second, "10.1.1.112:80"), (3, third, "10.1.1.114:80")]
    {
        let src = (open.src.ip(), 40_000 + port).into();
        let open = Frame { src, ..open.clone() };
        site.tables.set_randoms([random]);
        site.check(&open, &open.to(addr(backend)));
        site.tables.set_randoms([first]);
        let next = Frame { kind: Kind::Ack, ..open };
        site.check(&next, &next.to(addr(backend)));
    }
}

#[test]
fn packets_and_connections_are_counted_once() {
    let site = Site::new(&services(1));
    for ((open, backend, service), id) in openings().into_iter().zip(1..) {
        let length = open.bytes().len() as u64;
        for frame in [&open, &open, &open.to(backend).reply(open.kind)] {
            site.send(&mut frame.bytes()).unwrap();
        }
        let counted = site.tables.backend_counters(id);
        assert_eq!((counted.packets, counted.bytes), (2, 2 * length), "{open:?}");
        let counted = site.tables.service_counters(service);
        assert_eq!((counted.placed, counted.refused), (1, 0), "{open:?}");
    }
}

#[test]
fn service_without_endpoints_drops_and_counts() {
    let site = Site::new(&services(0));
    for (open, _, service) in openings() {
        site.check_untouched(&open.bytes(), Err(Reason::NoEndpoint));
        let counted = site.tables.service_counters(service);
        assert_eq!((counted.placed, counted.refused), (0, 1), "{open:?}");
    }
    assert_eq!(Reason::NoEndpoint.action(), Action::Refuse);
    assert_eq!(site.flows(), 0);
}

/// What a stack has a connection for, or resets, is left to it. Nobody but us answers for a cluster IP or a load
/// balancer's address.
#[test]
fn row_21_tcp_without_a_flow_makes_none() {
    let no_flow = Err(Reason::NoFlow);
    let pass = Ok(Verdict::NotOurs);
    for (bits, expected) in [
        (0, pass),
        (ADDRESS_OWN, pass),
        (ADDRESS_EXTERNAL | ADDRESS_OWN, pass),
        (ADDRESS_CLUSTER_IP, no_flow),
        (ADDRESS_EXTERNAL, no_flow),
    ] {
        let site = Site::new(&services(1));
        for (open, ..) in openings().into_iter().filter(|(open, ..)| open.kind == Kind::Syn) {
            site.tables.maps().memory_mut().addresses.insert(open.dst.ip().into(), bits);
            for kind in [Kind::SynAck, Kind::Ack, Kind::Fin] {
                site.check_untouched(&Frame { kind, ..open.clone() }.bytes(), expected);
            }
            // A reset is never answered (RFC 9293, section 3.10.7.1).
            site.check_untouched(&Frame { kind: Kind::Rst, ..open }.bytes(), pass);
        }
        assert_eq!(site.flows(), 0);
    }
    assert_eq!(Reason::NoFlow.action(), Action::Refuse);
}

/// An endpoint may have the address and port of another Service, or of its own.
#[test]
fn translated_packet_is_not_translated_again() {
    for (open, ..) in openings() {
        let family = usize::from(open.src.is_ipv6());
        let own = addr(VIP[family]);
        let second = addr(["10.96.0.81:8080", "[fd96::81]:8080"][family]);
        let proto = if open.kind == Kind::Syn { proto::TCP } else { proto::UDP };
        let site = Site::new(&[
            Virtual { vip: own, proto, backends: vec![second] },
            Virtual { vip: second, proto, backends: vec![addr(BACKENDS[family][0])] },
        ]);
        // `send` lets it pass by the egress too.
        site.check(&open, &open.to(second));
        assert_eq!(site.flows(), 2);
        let site = Site::new(&[Virtual { vip: own, proto, backends: vec![own] }]);
        site.check(&open, &open);
        assert_eq!(site.flows(), 2);
    }
}

#[test]
fn hole_behind_a_service_is_never_chosen() {
    let site = Site::new(&services(1));
    site.tables.maps().memory_mut().backends.clear();
    for (open, ..) in openings() {
        site.check_untouched(&open.bytes(), Err(Reason::Inconsistent));
    }
    assert_eq!(site.flows(), 0);
}

/// For programs that read the service entry just before the backend was taken from it.
#[test]
fn retired_backend_is_still_reached_but_never_as_another_services() {
    let site = Site::new(&services(1));
    let retire = |change: fn(&mut seaway_common::BackendValue)| {
        site.tables.maps().memory_mut().backends.values_mut().for_each(change);
    };
    retire(|value| value.flags = 0);
    for (open, backend, _) in openings() {
        site.check(&open, &open.to(backend));
    }
    retire(|value| value.service += 1);
    for (open, ..) in openings() {
        let src = (open.src.ip(), 1).into();
        site.check_untouched(&Frame { src, ..open }.bytes(), Err(Reason::Inconsistent));
    }
}

#[test]
fn unknown_addresses_ports_and_protocols_are_not_ours() {
    let mut all = services(1);
    all.retain(|service| service.proto == proto::TCP);
    let site = Site::new(&all);
    let not_ours = |frame: Frame| site.check_untouched(&frame.bytes(), Ok(Verdict::NotOurs));
    for (client, vip) in CLIENT.map(addr).into_iter().zip(VIP.map(addr)) {
        for kind in [Kind::Syn, Kind::Ack] {
            not_ours(Frame::new(client, (vip.ip(), 8081).into(), kind));
            not_ours(Frame::new(client, client, kind));
            not_ours(Frame::new(vip, client, kind));
        }
        not_ours(Frame::new(client, vip, Kind::Datagram));
    }
    assert_eq!(site.flows(), 0);
}
