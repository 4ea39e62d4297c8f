//! The life of a flow, on the host: its state, its end, its halves, and others in its way.

#![forbid(unsafe_code)]

use seaway_common::{
    Config, FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, FLOW_TRANSMIT, FLOW_XDP_HOP, Reason,
};
use seaway_dataplane::Maps;
use seaway_ebpf::Verdict;
use seaway_harness::{MemoryFlows, MemoryTables};
use seaway_tests::{
    frame::{Frame, Kind},
    site::{CLIENT, Site, VIP, Virtual, addr, openings, patient, services},
};

#[test]
fn state_bits_follow_the_flow() {
    let site = Site::new(&services(1));
    let (open, backend, _) = openings().swap_remove(0);
    let states =
        || site.v4.all().values().map(|value| value.state).collect::<std::collections::BTreeSet<_>>();
    let send = |frame: &Frame| site.send(&mut frame.bytes()).unwrap();
    send(&open);
    assert_eq!(states(), [FLOW_TRANSMIT, FLOW_FORWARD].into());
    send(&open.to(backend).reply(Kind::SynAck));
    let back = FLOW_TRANSMIT | FLOW_XDP_HOP;
    assert_eq!(states(), [FLOW_ESTABLISHED | back, FLOW_ESTABLISHED | FLOW_FORWARD].into());
    send(&Frame { kind: Kind::Fin, ..open.clone() });
    let ending = FLOW_ESTABLISHED | FLOW_CLOSING;
    assert_eq!(states(), [ending | back, ending | FLOW_FORWARD].into());
    send(&Frame { kind: Kind::Ack, ..open });
    assert_eq!(states(), [ending | back, ending | FLOW_FORWARD].into());
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
    site.check_sent(&late, &open.reply(Kind::Fin));
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
        site.check_sent(&back, &open.reply(Kind::Ack));
        let before = site.v4.all();
        let is_lost = |state: u16| (state & FLOW_FORWARD != 0) == lost_is_forward;
        let lost = *before.iter().find(|(_, value)| is_lost(value.state)).unwrap().0;
        site.v4.evict(&lost).unwrap();
        site.tables.pass(MemoryTables::TICKS_PER_S + 1);
        if lost_is_forward {
            site.check_sent(&back, &open.reply(Kind::Ack));
            site.check(&there, &there.to(backend));
        } else {
            site.check(&there, &there.to(backend));
            site.check_sent(&back, &open.reply(Kind::Ack));
        }
        let after = site.v4.all();
        assert!(after.keys().eq(before.keys()));
        for (key, value) in &after {
            assert_eq!((value.to, value.backend, value.state), (before[key].to, 1, before[key].state));
        }
    }
}

/// A second service in front of the first one's backend, and a client's SYN to each.
fn two_services_with_one_backend() -> (Site, [Frame; 2]) {
    let mut all = services(1);
    all.truncate(1);
    let second = addr("10.96.0.81:8080");
    all.push(Virtual { vip: second, ..all[0].clone() });
    let one = Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn);
    let two = one.to(second);
    (Site::new(&all), [one, two])
}

/// The reply's tuple of the second flow would be that of the first: it gets another source port.
#[test]
fn two_services_with_one_backend_serve_one_client_port_at_once() {
    let (site, [one, two]) = two_services_with_one_backend();
    let backend = addr("10.1.1.111:80");
    site.check(&one, &one.to(backend));
    let mut packet = two.bytes();
    assert_eq!(site.send(&mut packet), Ok(Verdict::Translated));
    let port = u16::from_be_bytes([packet[34], packet[35]]);
    assert_ne!(port, two.src.port());
    let moved = Frame { src: (two.src.ip(), port).into(), ..two.clone() }.to(backend);
    assert_eq!(packet, moved.bytes());
    site.check_sent(&one.to(backend).reply(Kind::SynAck), &one.reply(Kind::SynAck));
    site.check_sent(&moved.reply(Kind::SynAck), &two.reply(Kind::SynAck));
    let next = Frame { kind: Kind::Ack, ..two };
    site.check(&next, &Frame { kind: Kind::Ack, ..moved });
}

#[test]
fn flow_without_a_free_port_is_refused_until_one_is_free() {
    let (site, [one, two]) = two_services_with_one_backend();
    let backend = addr("10.1.1.111:80");
    // One port to try, beside the client's own.
    let mut maps = site.tables.maps().clone();
    maps.put_config(&Config { snat_first: 20_000, snat_last: 20_000, ..patient() }).unwrap();
    let site = Site { tables: MemoryTables::new(maps), ..site };
    let third = Frame { src: (one.src.ip(), 20_000).into(), ..one.clone() };
    site.check(&one, &one.to(backend));
    site.check(&third, &third.to(backend));
    site.check_untouched(&two.bytes(), Err(Reason::PortsExhausted));
    let end = Frame { kind: Kind::Rst, ..one.clone() };
    site.check(&end, &end.to(backend));
    site.check(&two, &two.to(backend));
}

#[test]
fn full_flow_table_drops() {
    let mut site = Site::new(&services(1));
    site.v4 = MemoryFlows::new(0);
    let (open, ..) = openings().swap_remove(0);
    site.check_untouched(&open.bytes(), Err(Reason::FlowsFull));
}
