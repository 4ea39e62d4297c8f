//! What holds for any sequence of packets, moments and changes of Services: what is not ours is not touched, what
//! is translated changes in its addresses, ports and sums alone, and those are right.
//!
//! The reading of headers here is a second one, made for this, so that an offset that is checked and another one
//! that is used cannot agree by chance.

#[path = "datapath/event.rs"]
mod event;
#[path = "datapath/view.rs"]
mod view;

use seaway_common::{Action, Addr, FLOW_DSR, FLOW_KERNEL, Reason, proto};
use seaway_ebpf::{Answer, Stage, Verdict, answer, translate};
use seaway_harness::{MemoryFlows, MemoryTables};
use seaway_tests::site::{Site, services};

use self::event::{Event, Input};
use self::view::View;

/// Events of one input.
const EVENTS_MAX: usize = 48;

/// Checks it.
pub(crate) fn check(octets: &[u8]) {
    let site = Site::new(&services(3));
    let mut input = Input::new(octets);
    for _ in 0..EVENTS_MAX {
        match input.event() {
            None => break,
            Some(Event::Pass(ticks)) => site.tables.pass(ticks),
            Some(Event::Random(number)) => site.tables.set_randoms([number; 4]),
            Some(Event::Change(which)) => change(&site, which),
            Some(Event::Evict(which)) => evict(&site, which),
            Some(Event::Arrives(packet, foreign)) => {
                // XDP first, and what it leaves as it is at the ingress.
                let mut here = packet;
                if !settled(&run(&site, &mut here, Stage::Early, foreign)) {
                    let _verdict = run(&site, &mut here, Stage::Ingress, foreign);
                }
            }
            Some(Event::Leaves(mut packet, foreign)) => {
                let _verdict = run(&site, &mut packet, Stage::Egress, foreign);
            }
        }
        check_flows(&site.v4);
        check_flows(&site.v6);
    }
}

/// Whether a later program does not see the packet as it came.
fn settled(verdict: &Result<Verdict, Reason>) -> bool {
    match verdict {
        Ok(verdict) => !matches!(verdict, Verdict::NotOurs),
        Err(reason) => reason.action() == Action::Drop,
    }
}

/// Another endpoint list, or none, or a client range that nobody is in.
fn change(site: &Site, which: u8) {
    let mut memory = site.tables.maps().memory_mut();
    let services = memory.frontends.len();
    let Some(value) = memory.frontends.values_mut().nth(usize::from(which) % services) else { return };
    value.generation += 1;
    match which >> 4 & 3 {
        0 => value.cluster.len = 0,
        1 => value.cluster.len = 1,
        2 => value.cluster.len = 3,
        _ => value.flags ^= seaway_common::SERVICE_GUARDED,
    }
}

/// One entry goes, as from a full table.
fn evict(site: &Site, which: u8) {
    for flows in [&site.v4, &site.v6] {
        let all = flows.all();
        if let Some(key) = all.keys().nth(usize::from(which) % all.len().max(1)) {
            flows.evict(key);
        }
    }
}

/// Runs one program on a packet, and checks what it made of it.
fn run(site: &Site, packet: &mut Vec<u8>, stage: Stage, foreign: bool) -> Result<Verdict, Reason> {
    let before = packet.clone();
    let verdict = translate(packet, &site.tables, &site.v4, &site.v6, stage);
    let told = || format!("{stage:?} {verdict:?}\n{before:02x?}");
    match verdict {
        Ok(Verdict::Translated | Verdict::Transmit(_) | Verdict::Resolve(_) | Verdict::Arrive(_)) => {
            assert!(!foreign, "a foreign packet was translated: {}", told());
            check_translated(&before, packet, &told);
        }
        Ok(other) => {
            assert_eq!(&before, packet, "changed: {}", told());
            let what = match other {
                Verdict::TooBig(mtu) => Some((Answer::TooBig, mtu)),
                Verdict::Echo => Some((Answer::Echo, 0)),
                Verdict::Expired => Some((Answer::TimeExceeded, 0)),
                _ => None,
            };
            if let Some((what, mtu)) = what {
                check_answer(&site.tables, &before, what, mtu, stage);
            }
        }
        Err(reason) => {
            assert!(!foreign || reason.action() == Action::Pass, "a foreign packet ends: {}", told());
            if reason.action() != Action::Drop {
                assert_eq!(&before, packet, "changed: {}", told());
            }
            if reason.action() == Action::Refuse {
                check_answer(&site.tables, &before, Answer::Refused, 0, stage);
                check_answer(&site.tables, &before, Answer::TimeExceeded, 0, stage);
            }
        }
    }
    verdict
}

fn check_translated(before: &[u8], after: &[u8], told: &dyn Fn() -> String) {
    let (Some(old), Some(new)) = (View::of(before), View::of(after)) else {
        // Tags: the second reading does not go there.
        return;
    };
    assert_eq!(before[0] & 1, 0, "to several stations: {}", told());
    assert!(!old.has_mapped(), "a mapped address was looked up: {}", told());
    assert_eq!((old.l4, old.end, old.proto), (new.l4, new.end, new.proto), "{}", told());
    assert_eq!(before.len(), after.len(), "{}", told());
    if !old.is_icmp() {
        let allowed = old.translatable();
        for (at, (was, is)) in before.iter().zip(after).enumerate() {
            assert!(was == is || allowed.iter().any(|range| range.contains(&at)), "byte {at}: {}", told());
        }
    }
    if old.network_sum(before) {
        assert!(new.network_sum(after), "network sum: {}\n{after:02x?}", told());
    }
    if old.transport_sum(before) == Some(true) {
        assert_eq!(new.transport_sum(after), Some(true), "transport sum: {}\n{after:02x?}", told());
    }
}

/// An answer goes back to the sender, is right, and is none to what may not be answered.
fn check_answer(tables: &MemoryTables, before: &[u8], what: Answer, mtu: u16, stage: Stage) {
    let mut packet = before.to_vec();
    if answer(&mut packet, tables, what, mtu, stage).is_err() {
        return;
    }
    let (Some(old), Some(new)) = (View::of(before), View::of(&packet)) else { return };
    let told = || format!("{what:?}\n{before:02x?}\n{packet:02x?}");
    assert_eq!(new.dst, old.src, "to somebody else: {}", told());
    assert!(Addr::from(old.src).is_unicast() && Addr::from(old.dst).is_unicast(), "{}", told());
    assert_eq!(before[0] & 1, 0, "to a link broadcast: {}", told());
    assert!(new.network_sum(&packet), "network sum: {}", told());
    if what != Answer::Echo || old.transport_sum(before) == Some(true) {
        assert_eq!(new.transport_sum(&packet), Some(true), "sum: {}", told());
    }
    if old.proto == proto::TCP {
        assert_eq!(before[old.l4 + 13] & 4, 0, "an answer to a reset: {}", told());
    }
    if old.is_icmp() {
        let echo = if old.v4 { 8 } else { 128 };
        assert_eq!(before[old.l4], echo, "an answer to an error: {}", told());
    }
}

/// Both entries of a flow say the same of it.
fn check_flows(flows: &MemoryFlows) {
    let all = flows.all();
    for (key, value) in &all {
        let anew = key.rewrite_to(value.to.src, value.to.sport, value.to.dst, value.to.dport);
        if value.state & (FLOW_DSR | FLOW_KERNEL) != 0 {
            continue;
        }
        let zero = |sum: u16| if sum == 0xffff { 0 } else { sum };
        assert_eq!(zero(anew.l4_delta.raw()), zero(value.to.l4_delta.raw()), "{key:?} {value:?}");
        assert_eq!(zero(anew.l3_delta.raw()), zero(value.to.l3_delta.raw()), "{key:?} {value:?}");
        let pair_key = value.to.reply_key(key.proto);
        let Some(pair) = all.get(&pair_key) else { continue };
        // Another flow may have taken the pair's place; if not, it leads back here.
        if pair.to.reply_key(key.proto) == *key {
            assert_eq!((pair.to.src, pair.to.dst), (key.dst, key.src), "{key:?} {value:?} {pair:?}");
            assert_eq!((pair.to.sport, pair.to.dport), (key.dport, key.sport), "{key:?} {value:?} {pair:?}");
        }
    }
}
