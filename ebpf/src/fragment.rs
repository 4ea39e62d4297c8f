//! Fragments follow their first fragment, which alone names the ports; those that come before it are held
//! for it (docs/decisions/0006-fragments-are-held.md).

use seaway_common::{
    Be32, FRAGMENT_FOREIGN, FRAGMENT_HELD, FRAGMENT_PORTS, FragmentKey, FragmentValue, Rewrite,
};

use crate::headers::{Headers, Part};
use crate::translate::Stage;
use crate::{Packet, Tables, martian};

/// Seconds in which the rest of a datagram has to come (RFC 8200, section 4.5, allows the sender 60;
/// the receiver's stack keeps 30).
const LIFE_S: u64 = 30;
/// Set in every identification that is given, whose other bits count.
const GIVEN: u32 = 1 << 31;

/// What is to be done with a fragment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has its ports: go on.
    Flow,
    /// Its datagram belongs to no flow.
    Foreign,
    /// It came before its first fragment, and is to be held.
    Hold,
    /// It is the first one, and others are held for it.
    Release,
    /// Nothing is known about it.
    Unknown,
}

/// Says what to do with a fragment. A later one gets the ports of the first.
#[inline(never)]
pub(crate) fn place<P: Packet, T: Tables>(
    packet: &mut P,
    headers: &mut Headers,
    tables: &T,
    stage: Stage,
) -> Place {
    let key = key_of(headers);
    let known = tables.fragment(&key);
    let young = known.filter(|value| is_young(value.seen, tables));
    if headers.part == Part::First {
        return match young {
            Some(value) if value.state == FRAGMENT_HELD && value.held != 0 => Place::Release,
            _ => {
                if known.is_some() || (stage == Stage::Ingress && is_held(packet, headers, tables)) {
                    let value = FragmentValue { state: FRAGMENT_FOREIGN, ..empty(tables) };
                    tables.put_fragment(&key, &value);
                }
                Place::Flow
            }
        };
    }
    match young {
        Some(value) if value.state == FRAGMENT_PORTS => {
            headers.key.sport = value.sport;
            headers.key.dport = value.dport;
            headers.new_id = value.id;
            Place::Flow
        }
        Some(value) if value.state == FRAGMENT_FOREIGN => Place::Foreign,
        Some(_) if stage == Stage::Ingress => Place::Hold,
        None if stage == Stage::Ingress && is_held(packet, headers, tables) => Place::Hold,
        _ => Place::Unknown,
    }
}

/// Remembers the ports of a first fragment that becomes `to`. A datagram that leaves under another source
/// address gets an identification of that address: two clients may have given theirs the same.
#[inline(never)]
pub(crate) fn remember<T: Tables>(headers: &mut Headers, to: &Rewrite, tables: &T) {
    if to.src != headers.key.src {
        headers.new_id = Be32::new(tables.fragment_id() | GIVEN);
    }
    let (sport, dport, id) = (headers.key.sport, headers.key.dport, headers.new_id);
    let value = FragmentValue { sport, dport, id, state: FRAGMENT_PORTS, ..empty(tables) };
    tables.put_fragment(&key_of(headers), &value);
}

/// What the fragments of a datagram share.
#[inline(always)]
pub(crate) fn key_of(headers: &Headers) -> FragmentKey {
    let key = &headers.key;
    FragmentKey { src: key.src, dst: key.dst, id: headers.id, proto: key.proto, _pad: [0; 3] }
}

/// Nothing known yet.
#[inline(always)]
pub(crate) fn empty<T: Tables>(tables: &T) -> FragmentValue {
    FragmentValue { seen: tables.now(), ..FragmentValue::default() }
}

/// Whether the rest of a datagram may still come.
#[inline(always)]
pub(crate) fn is_young<T: Tables>(seen: u64, tables: &T) -> bool {
    tables.now().saturating_sub(seen) <= LIFE_S * tables.ticks_per_s()
}

/// Whether fragments to this destination are held: it is a service's address, or this node's own, which has
/// node ports and gets the replies of masqueraded flows. All others may take several ways.
#[inline(always)]
fn is_held<P: Packet, T: Tables>(packet: &mut P, headers: &Headers, tables: &T) -> bool {
    let key = &headers.key;
    tables.address(&key.dst) != 0 || martian::ends_here(packet, &key.src, &key.dst, key.proto, tables)
}
