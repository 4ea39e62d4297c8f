//! Fragments follow their first fragment, which alone names the ports.

use seaway_common::{FragmentKey, FragmentValue, Reason};

use crate::Tables;
use crate::headers::Headers;

/// Seconds in which the rest of a datagram has to come (RFC 8200, section 4.5, allows the sender 60;
/// the receiver's stack keeps 30).
const LIFE_S: u64 = 30;

/// Remembers the ports of a first fragment.
#[inline(never)]
pub(crate) fn remember<T: Tables>(headers: &Headers, tables: &T) {
    let (sport, dport) = (headers.key.sport, headers.key.dport);
    tables.put_fragment(&key_of(headers), &FragmentValue { seen: tables.now(), sport, dport, _pad: 0 });
}

/// Gives a later fragment the ports of the first.
///
/// # Errors
/// [`Reason::Fragment`] when the first was not seen, or is not ours.
#[inline(never)]
pub(crate) fn recall<T: Tables>(headers: &mut Headers, tables: &T) -> Result<(), Reason> {
    let first = tables.fragment(&key_of(headers)).ok_or(Reason::Fragment)?;
    if tables.now().saturating_sub(first.seen) > LIFE_S * tables.ticks_per_s() {
        return Err(Reason::Fragment);
    }
    headers.key.sport = first.sport;
    headers.key.dport = first.dport;
    Ok(())
}

#[inline(always)]
fn key_of(headers: &Headers) -> FragmentKey {
    let key = &headers.key;
    FragmentKey { src: key.src, dst: key.dst, id: headers.id, proto: key.proto, _pad: [0; 3] }
}
