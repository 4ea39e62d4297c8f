//! The end of a socket, on the host: all that was remembered of it goes.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use proptest::{collection::vec, prelude::*};
use seaway_common::{SOCKET_CHAIN_MAX, proto};
use seaway_ebpf::socket::{connect, release, sendmsg};
use seaway_tests::{
    call::{COOKIE, Call, change, send, shown},
    site::{BACKENDS, Site, Virtual, addr, key_of},
};

/// Entries that closing a socket removes, its head aside.
const CHAIN_MAX: usize = SOCKET_CHAIN_MAX as usize;
/// Services of a socket with many.
const SERVICES: usize = 20;

/// Services for a socket with many: the first two backends are shared by all.
fn many(services: usize) -> Vec<Virtual> {
    let vip = |n: u16| SocketAddr::new([10, 96, 1, 1].into(), n);
    let own = |n: u16| SocketAddr::new([10, 1, 2, 1].into(), n);
    let backends = |n: u16| vec![addr(BACKENDS[0][0]), addr(BACKENDS[0][1]), own(n)];
    (1..).take(services).map(|n| Virtual { vip: vip(n), proto: proto::UDP, backends: backends(n) }).collect()
}

proptest! {
    /// However a socket came to its entries, closing it leaves none, up to the limit of the chain.
    #[test]
    fn closed_socket_leaves_no_entry(
        calls in vec((0..SERVICES, any::<u32>(), any::<bool>(), 0u32..10), 0..120),
    ) {
        let all = many(SERVICES);
        let all_ids: Vec<u32> = (0u32..).take(SERVICES).collect();
        let tables = Site::new(&all).tables;
        let neighbour = Call::new(COOKIE + 1, proto::UDP, all[0].vip);
        connect(&mut neighbour.clone(), &tables).unwrap();
        for (service, random, by_connect, update) in calls {
            if tables.entries_of(COOKIE) + 2 > CHAIN_MAX {
                break;
            }
            let vip = all[service].vip;
            if update == 0 {
                // Its backends leave: the next datagram is placed anew.
                change(&tables, &key_of(vip, proto::UDP), |_| {});
                let service = all_ids[service];
                tables.maps().memory_mut().backends.values_mut().filter(|value| value.service == service)
                    .for_each(|value| value.port = seaway_common::Be16::new(value.port.get() + 100));
            }
            tables.set_randoms([0, random]);
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

/// A service takes two entries, and the chain has a head. What is beyond is left to the LRU.
#[test]
fn release_takes_as_many_entries_as_the_chain_may_have() {
    for (services, left) in [(CHAIN_MAX / 2, 0), (CHAIN_MAX / 2 + 1, 2)] {
        let all = many(services);
        let tables = Site::new(&all).tables;
        for service in &all {
            tables.set_randoms([0, u32::MAX]);
            assert_eq!(send(&tables, service.vip), service.backends[2]);
        }
        assert_eq!(tables.entries_of(COOKIE), 2 * services + 1);
        release(COOKIE, &tables);
        assert_eq!(tables.entries_of(COOKIE), left);
    }
}
