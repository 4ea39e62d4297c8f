//! Packets to services and back, on the host: what becomes of every kind.

#![forbid(unsafe_code)]

use seaway_common::{FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, Reason, proto};
use seaway_ebpf::Verdict;
use seaway_harness::MemoryTables;
use seaway_tests::{
    frame::{Frame, Kind},
    site::{CLIENT, Site, VIP, addr, openings, services},
};

#[test]
fn new_flow_goes_to_a_backend_and_its_replies_come_from_the_service() {
    let site = Site::new(&services(3));
    for (frame, backend, _) in openings() {
        site.check(&frame, &frame.to(backend));
        let answer = if frame.kind == Kind::Syn { Kind::SynAck } else { Kind::Datagram };
        site.check(&frame.to(backend).reply(answer), &frame.reply(answer));
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
fn state_bits_follow_the_flow() {
    let site = Site::new(&services(1));
    let (open, backend, _) = openings().swap_remove(0);
    let states =
        || site.v4.all().values().map(|value| value.state).collect::<std::collections::BTreeSet<_>>();
    let send = |frame: &Frame| site.send(&mut frame.bytes()).unwrap();
    send(&open);
    assert_eq!(states(), [0, FLOW_FORWARD].into());
    send(&open.to(backend).reply(Kind::SynAck));
    assert_eq!(states(), [FLOW_ESTABLISHED, FLOW_ESTABLISHED | FLOW_FORWARD].into());
    send(&Frame { kind: Kind::Fin, ..open.clone() });
    let ending = FLOW_ESTABLISHED | FLOW_CLOSING;
    assert_eq!(states(), [ending, ending | FLOW_FORWARD].into());
    send(&Frame { kind: Kind::Ack, ..open });
    assert_eq!(states(), [ending, ending | FLOW_FORWARD].into());
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
    assert!(Reason::NoEndpoint.drops());
    assert_eq!(site.flows(), 0);
}

#[test]
fn tcp_without_a_flow_makes_none() {
    let site = Site::new(&services(1));
    for (open, ..) in openings().into_iter().filter(|(open, ..)| open.kind == Kind::Syn) {
        for kind in [Kind::SynAck, Kind::Ack, Kind::Fin, Kind::Rst] {
            site.check_untouched(&Frame { kind, ..open.clone() }.bytes(), Err(Reason::NoFlow));
        }
    }
    assert_eq!(site.flows(), 0);
}

#[test]
fn syn_on_a_closing_flow_starts_another() {
    for end in [Kind::Fin, Kind::Rst] {
        let site = Site::new(&services(2));
        let (open, backend, _) = openings().swap_remove(0);
        let other = addr("10.1.1.112:80");
        site.check(&open, &open.to(backend));
        site.tables.set_randoms([u32::MAX]);
        site.check(&open, &open.to(backend));
        let end = Frame { kind: end, ..open.clone() };
        site.check(&end, &end.to(backend));
        site.check(&open, &open.to(other));
        assert_eq!(site.tables.service_counters(0).placed, 2);
    }
}

#[test]
fn late_packet_of_a_replaced_flow_leaves_the_new_one_alone() {
    let site = Site::new(&services(2));
    let (open, old, _) = openings().swap_remove(0);
    let new = addr("10.1.1.112:80");
    site.check(&open, &open.to(old));
    let end = Frame { kind: Kind::Fin, ..open.clone() };
    site.check(&end, &end.to(old));
    site.tables.set_randoms([u32::MAX]);
    site.check(&open, &open.to(new));
    site.tables.pass(2 * MemoryTables::TICKS_PER_S);
    let late = open.to(old).reply(Kind::Fin);
    site.check(&late, &open.reply(Kind::Fin));
    let next = Frame { kind: Kind::Ack, ..open.clone() };
    site.check(&next, &next.to(new));
    let of_new = site.v4.all().into_values().filter(|value| value.backend == 2);
    assert!(of_new.into_iter().all(|value| value.state & FLOW_CLOSING == 0), "{:#?}", site.v4.all());
}

/// A client may talk to a backend itself, from the port of an earlier flow to a service.
#[test]
fn direct_connection_from_the_port_of_an_ended_flow_is_left_alone() {
    let site = Site::new(&services(2));
    let (open, backend, _) = openings().swap_remove(0);
    let end = Frame { kind: Kind::Fin, ..open.clone() };
    site.check(&open, &open.to(backend));
    site.check(&end, &end.to(backend));
    let answer = open.to(backend).reply(Kind::SynAck).bytes();
    site.check_untouched(&answer, Ok(Verdict::NotOurs));
    assert_eq!(site.flows(), 0);
    // The same with a newer flow to another backend, which goes on.
    site.check(&open, &open.to(backend));
    site.check(&end, &end.to(backend));
    let other = addr("10.1.1.112:80");
    site.tables.set_randoms([u32::MAX]);
    site.check(&open, &open.to(other));
    site.check_untouched(&answer, Ok(Verdict::NotOurs));
    let next = Frame { kind: Kind::Ack, ..open };
    site.check(&next, &next.to(other));
}

#[test]
fn lost_half_of_a_pair_is_made_again() {
    for lost_is_forward in [true, false] {
        let site = Site::new(&services(1));
        let (open, backend, _) = openings().swap_remove(0);
        let there = Frame { kind: Kind::Ack, ..open.clone() };
        let back = open.to(backend).reply(Kind::Ack);
        site.check(&open, &open.to(backend));
        site.check(&back, &open.reply(Kind::Ack));
        let before = site.v4.all();
        let is_lost = |state: u32| (state & FLOW_FORWARD != 0) == lost_is_forward;
        let lost = *before.iter().find(|(_, value)| is_lost(value.state)).unwrap().0;
        site.v4.evict(&lost).unwrap();
        site.tables.pass(MemoryTables::TICKS_PER_S + 1);
        if lost_is_forward {
            site.check(&back, &open.reply(Kind::Ack));
            site.check(&there, &there.to(backend));
        } else {
            site.check(&there, &there.to(backend));
            site.check(&back, &open.reply(Kind::Ack));
        }
        let after = site.v4.all();
        assert!(after.keys().eq(before.keys()));
        for (key, value) in &after {
            assert_eq!((value.to, value.backend, value.state), (before[key].to, 1, before[key].state));
        }
    }
}

#[test]
fn two_services_with_one_backend_do_not_mix_the_flows_of_one_client_port() {
    let backends = ["10.1.1.111:80", "10.1.1.112:80"].map(addr);
    let mut all = services(2);
    all.truncate(1);
    let second = addr("10.96.0.81:8080");
    all.push(seaway_tests::site::Virtual { vip: second, ..all[0].clone() });
    let site = Site::new(&all);
    let one = Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn);
    let two = one.to(second);
    site.check(&one, &one.to(backends[0]));
    // The backend is taken for this client port, twice; the third choice is free.
    site.tables.set_randoms([0, 0, u32::MAX]);
    site.check(&two, &two.to(backends[1]));
    for (frame, backend) in [(&one, backends[0]), (&two, backends[1])] {
        site.check(&frame.to(backend).reply(Kind::SynAck), &frame.reply(Kind::SynAck));
    }
}

#[test]
fn flow_without_a_free_backend_is_dropped_as_a_collision() {
    let mut all = services(1);
    all.truncate(1);
    let second = addr("10.96.0.81:8080");
    all.push(seaway_tests::site::Virtual { vip: second, ..all[0].clone() });
    let site = Site::new(&all);
    let one = Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn);
    let backend = addr("10.1.1.111:80");
    site.check(&one, &one.to(backend));
    site.check_untouched(&one.to(second).bytes(), Err(Reason::Collision));
    assert!(Reason::Collision.drops());
    site.check(&one.to(backend).reply(Kind::SynAck), &one.reply(Kind::SynAck));
    let end = Frame { kind: Kind::Rst, ..one.clone() };
    site.check(&end, &end.to(backend));
    site.check(&one.to(second), &one.to(backend));
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

#[test]
fn full_flow_table_drops() {
    let mut site = Site::new(&services(1));
    site.v4 = seaway_harness::MemoryFlows::new(0);
    let (open, ..) = openings().swap_remove(0);
    site.check_untouched(&open.bytes(), Err(Reason::FlowsFull));
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
