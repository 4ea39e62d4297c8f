//! The life of a flow, on the host: its state, its end, its halves, and others in its way.

#![forbid(unsafe_code)]

use std::{collections::BTreeSet, net::SocketAddr};

use seaway_common::{
    BackendValue, Config, FLOW_AT_EGRESS, FLOW_ESTABLISHED, FLOW_FIN_FORWARD, FLOW_FIN_REPLY, FLOW_FORWARD,
    FLOW_REPLIED, FLOW_RESET, FLOW_SHARED, Reason, flow_timeout_s, proto,
};
use seaway_dataplane::Maps;
use seaway_ebpf::Verdict;
use seaway_harness::{MemoryFlows, MemoryTables};
use seaway_tests::{
    frame::{Frame, Kind, NUMBER},
    site::{CLIENT, Site, VIP, Virtual, addr, openings, patient, services},
};

const HOUR_S: u64 = 3600;

/// A client's connection to the first service, as long as it lives.
struct Connection {
    open: Frame,
    backend: SocketAddr,
}

impl Connection {
    fn new() -> Self {
        let (open, backend, _) = openings().swap_remove(0);
        Self { open, backend }
    }

    /// What the client sends.
    fn client(&self, kind: Kind) -> Frame {
        Frame { kind, ..self.open.clone() }
    }

    /// The same on its way to the backend.
    fn arriving(&self, kind: Kind) -> Frame {
        self.client(kind).to(self.backend)
    }

    /// What the backend sends.
    fn server(&self, kind: Kind) -> Frame {
        self.open.to(self.backend).reply(kind)
    }

    #[track_caller]
    fn there(&self, site: &Site, kind: Kind) {
        site.check(&self.client(kind), &self.arriving(kind));
    }

    #[track_caller]
    fn back(&self, site: &Site, kind: Kind) {
        site.check(&self.server(kind), &self.open.reply(kind));
    }

    /// Until the handshake's last acknowledgment.
    #[track_caller]
    fn establish(&self, site: &Site) {
        self.there(site, Kind::Syn);
        self.back(site, Kind::SynAck);
        self.there(site, Kind::Ack);
    }

    /// Until both sides have closed it.
    #[track_caller]
    fn close(&self, site: &Site) {
        self.there(site, Kind::Fin);
        self.back(site, Kind::Fin);
        self.there(site, Kind::Ack);
    }
}

/// The state bits that both entries have to share, and do.
#[track_caller]
fn state(site: &Site) -> u16 {
    let states: BTreeSet<_> = site.v4.all().values().map(|value| value.state & FLOW_SHARED).collect();
    assert_eq!(states.len(), 1, "{:#?}", site.v4.all());
    *states.first().unwrap()
}

fn pass_seconds(site: &Site, seconds: u64) {
    site.tables.pass(seconds * MemoryTables::TICKS_PER_S);
}

/// The site with the ordinary timeouts, and this range of ports.
fn ordinary(site: Site, first: u16, last: u16) -> Site {
    let mut maps = site.tables.maps().clone();
    maps.put_config(&Config { snat_first: first, snat_last: last, ..Config::new() }).unwrap();
    Site { tables: MemoryTables::new(maps), ..site }
}

#[test]
fn state_follows_handshake_close_and_time_wait() {
    let site = Site::new(&services(1));
    let one = Connection::new();
    let timeout = |site: &Site| flow_timeout_s(&Config::new(), proto::TCP, state(site));
    let established = || site.v4.established().len();
    one.there(&site, Kind::Syn);
    let own =
        |site: &Site| site.v4.all().values().map(|value| value.state & !FLOW_SHARED).collect::<BTreeSet<_>>();
    assert_eq!((state(&site), own(&site)), (0, [FLOW_FORWARD, FLOW_AT_EGRESS].into()));
    one.back(&site, Kind::SynAck);
    assert_eq!((state(&site), timeout(&site), established()), (FLOW_REPLIED, 60, 0));
    one.there(&site, Kind::Ack);
    let open = FLOW_REPLIED | FLOW_ESTABLISHED;
    assert_eq!((state(&site), timeout(&site), established()), (open, 86_400, 2));
    one.there(&site, Kind::Fin);
    assert_eq!((state(&site), timeout(&site)), (open | FLOW_FIN_FORWARD, 3600));
    one.back(&site, Kind::Ack);
    one.back(&site, Kind::Fin);
    let closed = open | FLOW_FIN_FORWARD | FLOW_FIN_REPLY;
    assert_eq!((state(&site), timeout(&site)), (closed, 120));
    one.there(&site, Kind::Ack);
    assert_eq!((state(&site), established()), (closed, 2));
    assert_eq!(own(&site), [FLOW_FORWARD, FLOW_AT_EGRESS].into());
}

/// Whoever the SYN claims to be from: only an acknowledgment from there shows it.
#[test]
fn answer_alone_does_not_establish_a_flow() {
    let site = Site::new(&services(1));
    let one = Connection::new();
    for _ in 0..3 {
        one.there(&site, Kind::Syn);
        one.back(&site, Kind::SynAck);
    }
    assert_eq!((state(&site), site.v4.established().len()), (FLOW_REPLIED, 0));
}

#[test]
fn datagrams_back_establish_a_flow() {
    let site = Site::new(&services(1));
    let (open, backend, _) = openings().swap_remove(1);
    site.check(&open, &open.to(backend));
    site.check(&open, &open.to(backend));
    assert_eq!(state(&site), 0);
    site.check(&open.to(backend).reply(Kind::Datagram), &open.reply(Kind::Datagram));
    assert_eq!((state(&site), site.v4.established().len()), (FLOW_REPLIED | FLOW_ESTABLISHED, 2));
}

#[test]
fn half_closed_flow_goes_on() {
    let site = ordinary(two_services_with_one_backend().0, 20_000, 20_000);
    let one = Connection::new();
    one.establish(&site);
    one.there(&site, Kind::Fin);
    // Others want its port, and a SYN from there is a duplicate or a forgery.
    let (_, [_, two]) = two_services_with_one_backend();
    let third = Frame { src: (two.src.ip(), 20_000).into(), dst: one.open.dst, ..two.clone() };
    site.check(&third, &third.to(one.backend));
    site.check(&third.to(one.backend).reply(Kind::SynAck), &third.reply(Kind::SynAck));
    let ack = Frame { kind: Kind::Ack, ..third };
    site.check(&ack, &ack.to(one.backend));
    for _ in 0..3 {
        pass_seconds(&site, HOUR_S - 100);
        site.check_untouched(&two.bytes(), Err(Reason::PortsExhausted));
        one.back(&site, Kind::Ack);
        one.there(&site, Kind::Ack);
        one.there(&site, Kind::Syn);
    }
    assert_eq!(site.tables.service_counters(0).placed, 2);
}

#[test]
fn syn_on_an_ended_flow_starts_another() {
    for reset in [false, true] {
        let site = Site::new(&services(2));
        let one = Connection::new();
        let other = addr("10.1.1.112:80");
        one.establish(&site);
        site.tables.set_randoms([u32::MAX]);
        one.there(&site, Kind::Syn);
        if reset {
            one.there(&site, Kind::Rst);
        } else {
            one.close(&site);
        }
        site.check(&one.open, &one.open.to(other));
        assert_eq!(site.tables.service_counters(0).placed, 2);
    }
}

/// Every segment that its receiver would not take for one of the connection (RFC 5961).
#[test]
fn forged_end_changes_nothing() {
    for far in [1 << 23, u32::MAX / 2, u32::MAX - (1 << 21)] {
        for kind in [Kind::Rst, Kind::Fin] {
            let site = Site::new(&services(1));
            let one = Connection::new();
            one.establish(&site);
            let before = state(&site);
            let forged = |frame: Frame| Frame { numbers: [NUMBER.wrapping_add(far), 0], ..frame };
            let there = forged(one.client(kind));
            site.check(&there, &forged(one.arriving(kind)));
            assert_eq!(state(&site), before, "{kind:?} there, {far} off");
            // An ACK of a forged FIN moves what is expected: the true side's next one puts it right.
            one.there(&site, Kind::Ack);
            let back = forged(one.server(kind));
            site.check(&back, &forged(one.open.reply(kind)));
            assert_eq!(state(&site), before, "{kind:?} back, {far} off");
        }
    }
}

#[test]
fn reset_with_a_wrong_checksum_changes_nothing() {
    let site = Site::new(&services(1));
    let one = Connection::new();
    one.establish(&site);
    let before = state(&site);
    for payload in [0, 4, 7, 40] {
        for options in [0, 1, 10] {
            let with =
                |frame: Frame| Frame { payload: vec![9; payload], options: vec![1; 4 * options], ..frame };
            let rst = with(one.client(Kind::Rst));
            let mut bytes = rst.bytes();
            bytes[rst.checksum_at()] ^= 1;
            site.send(&mut bytes).unwrap();
            assert_eq!(state(&site), before, "with {payload} bytes and {options} words");
        }
    }
    for frame in [one.client(Kind::Rst), Frame { payload: vec![], ..one.client(Kind::Rst) }] {
        site.send(&mut frame.bytes()).unwrap();
        assert_eq!(state(&site), before | FLOW_RESET, "{frame:?}");
        // It did not send it: the flow stands.
        one.there(&site, Kind::Ack);
        assert_eq!(state(&site), before);
    }
}

#[test]
fn late_packet_of_a_replaced_flow_leaves_the_new_one_alone() {
    let site = Site::new(&services(2));
    let one = Connection::new();
    let new = addr("10.1.1.112:80");
    one.establish(&site);
    one.close(&site);
    site.tables.set_randoms([u32::MAX]);
    site.check(&one.open, &one.open.to(new));
    pass_seconds(&site, 2);
    site.send(&mut one.server(Kind::Fin).bytes()).unwrap();
    let next = one.client(Kind::Ack);
    site.check(&next, &next.to(new));
    let of_new = site.v4.all().into_values().filter(|value| value.backend == 2);
    let fins = FLOW_FIN_FORWARD | FLOW_FIN_REPLY;
    assert!(of_new.into_iter().all(|value| value.state & fins == 0), "{:#?}", site.v4.all());
}

/// A client may talk to a backend itself, from the port of an earlier flow to a service.
#[test]
fn direct_connection_from_the_port_of_an_ended_flow_is_left_alone() {
    let site = Site::new(&services(2));
    let one = Connection::new();
    one.establish(&site);
    one.close(&site);
    let answer = one.server(Kind::SynAck).bytes();
    site.check_untouched(&answer, Ok(Verdict::NotOurs));
    assert_eq!(site.flows(), 0);
    // The same with a newer flow to another backend, which goes on.
    one.establish(&site);
    one.close(&site);
    let other = addr("10.1.1.112:80");
    site.tables.set_randoms([u32::MAX]);
    site.check(&one.open, &one.open.to(other));
    site.check_untouched(&answer, Ok(Verdict::NotOurs));
    let next = one.client(Kind::Ack);
    site.check(&next, &next.to(other));
}

#[test]
fn lost_half_of_a_pair_is_made_again() {
    for lost_is_forward in [true, false] {
        let site = Site::new(&services(1));
        let one = Connection::new();
        one.establish(&site);
        let before = site.v4.all();
        let is_lost = |state: u16| (state & FLOW_FORWARD != 0) == lost_is_forward;
        let lost = *before.iter().find(|(_, value)| is_lost(value.state)).unwrap().0;
        site.v4.evict(&lost).unwrap();
        // Longer than the time in which an entry's pair is not looked at.
        pass_seconds(&site, 60);
        if lost_is_forward {
            one.back(&site, Kind::Ack);
            one.there(&site, Kind::Ack);
        } else {
            one.there(&site, Kind::Ack);
            one.back(&site, Kind::Ack);
        }
        let after = site.v4.all();
        assert!(after.keys().eq(before.keys()));
        for (key, value) in &after {
            assert_eq!((value.to, value.backend, value.state), (before[key].to, 1, before[key].state));
        }
        assert_eq!(site.v4.established().len(), 2);
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

/// Sends a client's first packet to the second service, and returns the source port that it gets.
#[track_caller]
fn port_of(site: &Site, frame: &Frame) -> u16 {
    let mut packet = frame.bytes();
    assert_eq!(site.send(&mut packet), Ok(Verdict::Translated));
    u16::from_be_bytes([packet[34], packet[35]])
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
    site.check(&one.to(backend).reply(Kind::SynAck), &one.reply(Kind::SynAck));
    site.check(&moved.reply(Kind::SynAck), &two.reply(Kind::SynAck));
    let next = Frame { kind: Kind::Ack, ..two };
    site.check(&next, &Frame { kind: Kind::Ack, ..moved });
}

/// An ended flow's port returns when its time-wait is over, and earlier only if there is no other.
#[test]
fn port_in_time_wait_is_the_last_that_is_given_out() {
    let one = Connection::new();
    let own = one.open.src.port();
    let ended = |ports: u16| {
        let (site, [_, two]) = two_services_with_one_backend();
        let site = ordinary(site, 20_000, 19_999 + ports);
        one.establish(&site);
        one.close(&site);
        (site, two)
    };
    let (site, two) = ended(2);
    assert_ne!(port_of(&site, &two), own);
    let (site, two) = ended(2);
    pass_seconds(&site, 119);
    assert_ne!(port_of(&site, &two), own);
    let (site, two) = ended(2);
    pass_seconds(&site, 122);
    assert_eq!(port_of(&site, &two), own);
    // The only other one is taken for good.
    let (site, two) = ended(1);
    let third = Frame { src: (two.src.ip(), 20_000).into(), ..one.open.clone() };
    site.check(&third, &third.to(one.backend));
    site.check(&third.to(one.backend).reply(Kind::SynAck), &third.reply(Kind::SynAck));
    let ack = Frame { kind: Kind::Ack, ..third };
    site.check(&ack, &ack.to(one.backend));
    assert_eq!(port_of(&site, &two), own);
    // Nothing late of the former owner becomes the new one's.
    let late = one.client(Kind::Ack);
    site.check_untouched(&late.bytes(), Ok(Verdict::NotOurs));
    let answer = one.server(Kind::SynAck);
    site.check(&answer, &two.reply(Kind::SynAck));
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

/// Nobody answered a handshake: its port is free for others after two seconds, if they find no other.
#[test]
fn half_open_flow_gives_its_port_away_when_none_is_free() {
    let (site, [one, two]) = two_services_with_one_backend();
    let site = ordinary(site, 20_000, 20_000);
    let backend = addr("10.1.1.111:80");
    let third = Frame { src: (one.src.ip(), 20_000).into(), ..one.clone() };
    site.check(&one, &one.to(backend));
    site.check(&third, &third.to(backend));
    pass_seconds(&site, 1);
    site.check_untouched(&two.bytes(), Err(Reason::PortsExhausted));
    pass_seconds(&site, 2);
    port_of(&site, &two);
}

/// Masqueraded flows to one endpoint, up to the last of the node's ports.
#[test]
fn nearly_full_range_refuses_few() {
    const PORTS: u16 = 2000;
    let mut all = services(1);
    all.truncate(1);
    let site = Site::new(&all);
    let mut maps = site.tables.maps().clone();
    let own = addr("172.18.0.1:0").ip().into();
    let ports = Config { snat_v4: own, snat_first: 20_000, snat_last: 20_000 + PORTS - 1, ..patient() };
    maps.put_config(&Config { flags: seaway_common::CONFIG_MASQUERADE_ALL, ..ports }).unwrap();
    let site = Site { tables: MemoryTables::new(maps), ..site };
    let refused = |clients: std::ops::Range<u16>| {
        let open = |client: &u16| {
            let from = [192, 0, 2, 1 + u8::try_from(client % 200).unwrap()];
            let mut packet = Frame::new((from, 30_000 + client).into(), addr(VIP[0]), Kind::Syn).bytes();
            site.send(&mut packet) != Ok(Verdict::Transmit(1))
        };
        clients.filter(open).count()
    };
    assert_eq!(refused(0..1600), 0, "up to 80 %");
    let (some, rest) = (refused(1600..1700), refused(1700..2000));
    assert!(some <= 2 && rest <= 60, "{some} of 100 up to 85 %, {rest} of the last 300");
}

#[test]
fn full_flow_table_drops() {
    let mut site = Site::new(&services(1));
    site.v4 = MemoryFlows::new(0);
    let (open, ..) = openings().swap_remove(0);
    site.check_untouched(&open.bytes(), Err(Reason::FlowsFull));
}

/// An endpoint of this node answers through the stack, and sees who asks; others see the node.
#[test]
fn endpoint_of_this_node_is_not_masqueraded_for_an_outside_client() {
    let frame = |kind| Frame::new(addr(CLIENT[0]), addr(VIP[0]), kind);
    for (local, verdict) in [(true, Verdict::Translated), (false, Verdict::Transmit(1))] {
        let mut all = services(1);
        all.truncate(1);
        let site = Site::new(&all);
        let mut maps = site.tables.maps().clone();
        maps.put_config(&Config { snat_v4: addr("172.18.0.1:0").ip().into(), ..patient() }).unwrap();
        let site = Site { tables: MemoryTables::new(maps), ..site };
        {
            let mut memory = site.tables.maps().memory_mut();
            let external = |value: &mut seaway_common::ServiceValue| {
                value.flags |= seaway_common::SERVICE_EXTERNAL;
            };
            memory.frontends.values_mut().for_each(external);
            let on_this_node = |value: &mut BackendValue| {
                value.flags |= if local { seaway_common::BACKEND_LOCAL } else { 0 };
            };
            memory.backends.values_mut().for_each(on_this_node);
        }
        let mut packet = frame(Kind::Syn).bytes();
        assert_eq!(site.send(&mut packet), Ok(verdict));
        let from: [u8; 4] = packet[26..30].try_into().unwrap();
        assert_eq!(from, if local { [192, 0, 2, 10] } else { [172, 18, 0, 1] });
    }
}
