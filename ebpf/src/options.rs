//! IPv4 options: whether one of them says which way the packet takes.

use crate::Packet;
use crate::headers::IPV4_LEN;
use crate::packet::opaque;

/// Options (RFC 791, section 3.1) of one byte.
const END: u8 = 0;
const NOTHING: u8 = 1;
/// Source routes, loose and strict.
const LOOSE: u8 = 131;
const STRICT: u8 = 137;
/// So many bytes of options an IPv4 header has at most, and a mask over them.
const LEN_MAX: usize = 40;
const MASK: usize = 0x3f;

/// Whether the header at `l3` has a source route, or options that cannot be read to their end.
#[inline(never)]
pub(crate) fn route<P: Packet>(packet: &P, l3: usize, header_len: usize) -> bool {
    let len = header_len - IPV4_LEN;
    let mut at = 0;
    let mut seen = 0;
    while seen < LEN_MAX && at < len {
        seen += 1;
        let Ok(kind) = packet.read::<u8>(l3 + IPV4_LEN + at) else { return true };
        let step = match kind {
            END => return false,
            LOOSE | STRICT => return true,
            NOTHING => 1,
            _ => match packet.read::<u8>(l3 + IPV4_LEN + at + 1) {
                Ok(step @ 2..) => usize::from(step),
                _ => return true,
            },
        };
        if at + step > len {
            return true;
        }
        // As in `headers::walk`.
        at = opaque(at + step) & MASK;
    }
    false
}
