//! A server of the node that stands in for a service's endpoints, on the host: who goes there, and who goes
//! where when its time is over.

#![forbid(unsafe_code)]

use seaway_common::{BACKEND_IN_CLUSTER, BACKEND_IN_LOCAL, SERVICE_STAND_IN, Slice, proto};
use seaway_ebpf::socket::connect;
use seaway_tests::{
    call::{Call, send, shown},
    frame::{Frame, Kind},
    site::{BACKENDS, CLIENT, Site, VIP, addr, openings, services},
};

/// The second backend of each service is the node's server, the first the service's own endpoint.
fn stood_in() -> Site {
    let site = Site::new(&services(2));
    let mut memory = site.tables.maps().memory_mut();
    for value in memory.frontends.values_mut() {
        value.flags |= SERVICE_STAND_IN;
        let offset = value.cluster.offset;
        (value.cluster, value.local) = (Slice { offset, len: 1 }, Slice { offset: offset + 1, len: 1 });
    }
    for (id, backend) in &mut memory.backends {
        backend.flags |= if id % 2 == 1 { BACKEND_IN_CLUSTER } else { BACKEND_IN_LOCAL };
    }
    drop(memory);
    site
}

#[test]
fn connects_and_datagrams_go_to_the_server_while_it_stands_in() {
    let Site { tables, .. } = stood_in();
    for (vip, [own, server, _]) in VIP.iter().zip(BACKENDS) {
        for (stands_in, expected) in [(true, server), (false, own), (true, server)] {
            tables.stand_in(stands_in);
            for (proto, cookie) in [(proto::TCP, 1), (proto::UDP, 2)] {
                let mut call = Call::new(cookie, proto, addr(vip));
                assert_eq!(connect(&mut call, &tables), Ok(()));
                assert_eq!(call.to(), addr(expected), "{vip} {stands_in}");
            }
        }
    }
}

#[test]
fn a_socket_that_kept_the_server_leaves_it_when_its_time_is_over() {
    let Site { tables, .. } = stood_in();
    let (vip, [own, server, _]) = (addr(VIP[0]), BACKENDS[0].map(addr));
    tables.stand_in(true);
    assert_eq!([send(&tables, vip), send(&tables, vip)], [server; 2]);
    tables.stand_in(false);
    assert_eq!([send(&tables, vip), send(&tables, vip)], [own; 2]);
    // Answers of both are the service's.
    assert_eq!([own, server].map(|from| shown(&tables, seaway_tests::call::COOKIE, from)), [vip; 2]);
    // It stays where it is answered.
    tables.stand_in(true);
    assert_eq!(send(&tables, vip), own);
}

#[test]
fn packets_of_new_flows_go_to_the_server_while_it_stands_in() {
    for (index, (open, own, _)) in openings().into_iter().enumerate() {
        let site = stood_in();
        let server = addr(BACKENDS[index / 2][1]);
        site.tables.stand_in(true);
        site.check(&open, &open.to(server));
        site.tables.stand_in(false);
        let later = Frame { src: (open.src.ip(), 41_000).into(), ..open };
        site.check(&later, &later.to(own));
    }
}

#[test]
fn datagrams_of_a_flow_leave_the_server_and_connections_end_with_it() {
    let site = stood_in();
    let [own, server, _] = BACKENDS[0].map(addr);
    let frame = |kind| Frame::new(addr(CLIENT[0]), addr(VIP[0]), kind);
    site.tables.stand_in(true);
    for kind in [Kind::Datagram, Kind::Syn, Kind::Ack] {
        site.check(&frame(kind), &frame(kind).to(server));
    }
    let ticks = seaway_harness::MemoryTables::TICKS_PER_S;
    site.tables.pass(2 * ticks);
    site.check(&frame(Kind::Datagram), &frame(Kind::Datagram).to(server));
    site.tables.stand_in(false);
    // Where nobody listens any more, the node's stack resets connections.
    site.check(&frame(Kind::Ack), &frame(Kind::Ack).to(server));
    let datagram = frame(Kind::Datagram);
    site.check(&datagram, &datagram.to(own));
    site.check(&datagram.to(own).reply(Kind::Datagram), &datagram.reply(Kind::Datagram));
    // The flow is the endpoint's now.
    site.tables.stand_in(true);
    site.check(&datagram, &datagram.to(own));
}
