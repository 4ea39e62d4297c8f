//! The life of a flow, on the host: its state, its end, its halves, and others in its way.

#![forbid(unsafe_code)]

use seaway_common::{FLOW_CLOSING, FLOW_ESTABLISHED, FLOW_FORWARD, Reason};
use seaway_ebpf::Verdict;
use seaway_harness::{MemoryFlows, MemoryTables};
use seaway_tests::{
    frame::{Frame, Kind},
    site::{CLIENT, Site, VIP, Virtual, addr, openings, services},
};

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
        let is_lost = |state: u16| (state & FLOW_FORWARD != 0) == lost_is_forward;
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
    all.push(Virtual { vip: second, ..all[0].clone() });
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
fn flow_without_a_free_backend_is_refused() {
    let mut all = services(1);
    all.truncate(1);
    let second = addr("10.96.0.81:8080");
    all.push(Virtual { vip: second, ..all[0].clone() });
    let site = Site::new(&all);
    let one = Frame::new(addr(CLIENT[0]), addr(VIP[0]), Kind::Syn);
    let backend = addr("10.1.1.111:80");
    site.check(&one, &one.to(backend));
    site.check_untouched(&one.to(second).bytes(), Err(Reason::PortsExhausted));
    site.check(&one.to(backend).reply(Kind::SynAck), &one.reply(Kind::SynAck));
    let end = Frame { kind: Kind::Rst, ..one.clone() };
    site.check(&end, &end.to(backend));
    site.check(&one.to(second), &one.to(backend));
}

#[test]
fn full_flow_table_drops() {
    let mut site = Site::new(&services(1));
    site.v4 = MemoryFlows::new(0);
    let (open, ..) = openings().swap_remove(0);
    site.check_untouched(&open.bytes(), Err(Reason::FlowsFull));
}
