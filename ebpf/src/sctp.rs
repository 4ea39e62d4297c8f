//! SCTP (RFC 9260): what its chunks mean for a flow, and its checksum.
//!
//! The checksum is a CRC32c over the packet, without addresses. It is linear: the difference that
//! new ports make is the CRC of the ports' difference followed by as many zero bytes as there are
//! behind them. So no payload has to be read.

#[cfg(not(target_arch = "bpf"))]
use seaway_common::Be32;
use seaway_common::{Be16, Reason, Rewrite};

use crate::Packet;
use crate::answer::opaque;
use crate::headers::{FIN, Headers, IPV6_LEN, RST, SYN};

/// Common header and the first chunk's header.
pub(crate) const LEN_MIN: usize = 16;

const CHECKSUM: usize = 8;
const FIRST_CHUNK: usize = 12;
/// Chunk types (RFC 9260, section 3.2).
const INIT: u8 = 1;
const ABORT: u8 = 6;
const SHUTDOWN_COMPLETE: u8 = 14;

/// The polynomial of CRC32c, reflected (RFC 9260, appendix A).
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// One in the reflected order.
const ONE: u32 = 1 << 31;
/// Bits of a length.
const LENGTH_BITS: usize = 16;
/// `x^(8 * 2^n)` modulo the polynomial: what moves a remainder over 2^n zero bytes.
const OVER_ZEROS: [u32; LENGTH_BITS] = over_zeros();

/// The TCP flags that mean the same.
#[inline(always)]
pub(crate) fn flags<P: Packet>(packet: &P, l4: usize) -> Result<u8, Reason> {
    let chunk: u8 = packet.read(l4 + FIRST_CHUNK)?;
    Ok(match chunk {
        INIT => SYN,
        ABORT => RST,
        SHUTDOWN_COMPLETE => FIN,
        _ => 0,
    })
}

/// Writes the ports of `to`, and the checksum that goes with them.
#[inline(always)]
pub(crate) fn rewrite_ports<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    to: &Rewrite,
) -> Result<(), Reason> {
    let old: u32 = packet.read(headers.l4())?;
    packet.write(headers.l4(), [to.sport, to.dport])?;
    let new: u32 = packet.read(headers.l4())?;
    if old == new {
        return Ok(());
    }
    let length: Be16 = packet.read(headers.l3() + if headers.v4 { 2 } else { 4 })?;
    let end = headers.l3() + usize::from(length.get()) + if headers.v4 { 0 } else { IPV6_LEN };
    let behind = (end - headers.l4()) as u32 - 4;
    let checksum: u32 = packet.read(headers.l4() + CHECKSUM)?;
    packet.write(headers.l4() + CHECKSUM, checksum ^ sctp_difference(old ^ new, behind))
}

/// What a difference in four bytes makes of the checksum when `behind` bytes follow them; all in
/// memory order.
///
/// An exported symbol is a global function to the verifier: it walks these loops once a program, not
/// once for each way that leads here (docs/verifier.md).
#[cfg_attr(target_arch = "bpf", unsafe(no_mangle))]
#[inline(never)]
extern "C" fn sctp_difference(changed: u32, behind: u32) -> u32 {
    // The CRC register after the four bytes is their value times x^32: the bytes themselves moved
    // over four zeros.
    let mut crc = u32::from_le(changed);
    crc = times(crc, OVER_ZEROS[2]);
    let mut bit = 0;
    while bit < LENGTH_BITS {
        // The loop stays one: unrolled, it would take half of the stack.
        bit = opaque(bit) & (LENGTH_BITS - 1);
        if behind >> bit & 1 != 0 {
            crc = times(crc, OVER_ZEROS[bit]);
        }
        bit += 1;
    }
    // The checksum is sent least significant byte first.
    crc.to_le()
}

/// The product of two polynomials, reflected, modulo the CRC's.
const fn times(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut a = a;
    let mut bit = 0;
    while bit < 32 {
        // From the highest power of `b` downwards would need a shift the other way; here `a` is
        // multiplied by x in each round, and added where `b` has that power. Masks rather than
        // branches, which the verifier would follow both ways.
        product ^= a & mask(b >> (31 - bit));
        a = a >> 1 ^ POLYNOMIAL & mask(a);
        bit += 1;
    }
    product
}

/// All ones where the lowest bit is set.
const fn mask(bits: u32) -> u32 {
    0u32.wrapping_sub(bits & 1)
}

const fn over_zeros() -> [u32; LENGTH_BITS] {
    let mut table = [0; LENGTH_BITS];
    // x^8: eight steps from one.
    let mut power = ONE >> 8;
    let mut bit = 0;
    while bit < LENGTH_BITS {
        table[bit] = power;
        power = times(power, power);
        bit += 1;
    }
    table
}

/// A checksum of this kind over all bytes, for those who make packets.
#[cfg(not(target_arch = "bpf"))]
pub fn checksum(bytes: &[u8]) -> Be32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
        }
    }
    Be32::new((!crc).swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the CRC catalogues.
    #[test]
    fn the_sum_is_crc32c() {
        assert_eq!(checksum(b"123456789").get().swap_bytes(), 0xe306_9283);
    }

    #[test]
    fn the_difference_of_ports_needs_no_payload() {
        for len in [12usize, 13, 16, 100, 1480, 9000] {
            let mut bytes: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            let before = checksum(&bytes);
            let old = [bytes[0], bytes[1], bytes[2], bytes[3]];
            let new = [0x12, 0x34, 0xab, 0xcd];
            bytes[..4].copy_from_slice(&new);
            let changed = u32::from_ne_bytes(old) ^ u32::from_ne_bytes(new);
            let after = before.raw() ^ sctp_difference(changed, len as u32 - 4);
            assert_eq!(Be32::from_raw(after), checksum(&bytes), "{len} bytes");
        }
    }
}
