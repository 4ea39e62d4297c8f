//! Answers of other servers, checked and passed on.

use super::query::{Cut, Query, skip_name};
use super::writer::{Form, Transport, Writer};
use super::{HEADER, kind};

/// Answers without data live this long at most, whatever their SOA says (RFC 2308 section 5).
const TTL_MAX_S: u32 = u32::MAX >> 1;

/// An answer as it came, without its OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    flags: u16,
    rcode: u16,
    records: Box<[u8]>,
    counts: [u16; 3],
    /// Octets of the first section, and times to live in it.
    first: (usize, usize),
    /// Where the records' times to live stand, from the start of the message.
    ttls: Box<[u16]>,
    lowest_ttl_s: u32,
    has_soa: bool,
    has_kind: bool,
}

/// Why a message is no answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It has another identifier, or is no answer: it may be forged, and is not heeded.
    #[error("the message answers another query")]
    Stray,
    /// Its question is another.
    #[error("the answer is to another question")]
    Question,
    /// It cannot be read to its end.
    #[error("the answer is cut or malformed")]
    Malformed,
}

/// How old a relayed answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It has just come, and its times to live are limited to this range of seconds.
    New(u32, u32),
    /// It has been kept so many seconds, and had so many to live.
    Kept(u32, u32),
    /// It is out of date, and served for so many seconds for want of a better one (RFC 8767).
    Stale(u32),
}

impl Relayed {
    /// Reads the answer to `query`, a query of one question.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(message: &[u8], query: &[u8]) -> Result<Self, Mismatch> {
        let header = message.first_chunk::<HEADER>().ok_or(Mismatch::Stray)?;
        let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
        if message[..2] != query[..2] || word(1) & 0x8000 == 0 {
            return Err(Mismatch::Stray);
        }
        let flags = word(1);
        let end = skip_name(query, HEADER).map_err(|Cut| Mismatch::Malformed)? + 4;
        let question = query.get(HEADER..end).ok_or(Mismatch::Malformed)?;
        let same = message.get(HEADER..end).is_some_and(|theirs| theirs.eq_ignore_ascii_case(question));
        if word(2) != 1 || !same {
            return Err(Mismatch::Question);
        }
        let mut relayed = Self {
            flags,
            rcode: flags & 0x000f,
            records: Box::default(),
            counts: [0; 3],
            first: (0, 0),
            ttls: Box::default(),
            lowest_ttl_s: TTL_MAX_S,
            has_soa: false,
            has_kind: false,
        };
        let wanted = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
        let counts = [word(3), word(4), word(5)];
        relayed.walk(message, end, counts, wanted).map_err(|Cut| Mismatch::Malformed)?;
        Ok(relayed)
    }

    fn walk(&mut self, message: &[u8], start: usize, counts: [u16; 3], wanted: u16) -> Result<(), Cut> {
        let mut at = start;
        let mut ttls = Vec::new();
        'sections: for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                let begin = at;
                at = skip_name(message, at)?;
                let header: &[u8; 10] = message.get(at..).and_then(<[u8]>::first_chunk).ok_or(Cut)?;
                let kind = u16::from_be_bytes([header[0], header[1]]);
                let ttl = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                let length = usize::from(u16::from_be_bytes([header[8], header[9]]));
                if kind == kind::OPT {
                    self.rcode |= u16::from(header[4]) << 4;
                    at = begin;
                    // A signature after it is between the two servers.
                    break 'sections;
                }
                ttls.push(u16::try_from(at + 4).map_err(|_| Cut)?);
                self.lowest_ttl_s = self.lowest_ttl_s.min(ttl);
                self.has_soa |= section == 1 && kind == kind::SOA;
                self.has_kind |= section == 0 && (kind == wanted || wanted == kind::ANY);
                self.counts[section] += 1;
                at += 10 + length;
                if at > message.len() {
                    return Err(Cut);
                }
            }
            if section == 0 {
                self.first = (at - start, ttls.len());
            }
        }
        self.records = message[start..at].into();
        self.ttls = ttls.into();
        Ok(())
    }

    /// Writes it as the answer to a query of the same name, type and class. Returns its code.
    pub fn write(
        &self,
        query: &Query<'_>,
        transport: Transport,
        form: Form,
        age: Age,
        out: &mut Vec<u8>,
    ) -> u16 {
        let mut writer = Writer::begin(out, query, transport, form);
        if self.is_truncated() {
            writer.truncate();
        }
        if writer.add_body(&self.records, self.counts, self.first.0).is_some() {
            let alone = form.minimal && self.counts[0] > 0;
            let kept = if alone { &self.ttls[..self.first.1] } else { &self.ttls };
            for at in kept {
                let place = &mut writer.octets()[usize::from(*at)..][..4];
                let ttl = u32::from_be_bytes([place[0], place[1], place[2], place[3]]);
                place.copy_from_slice(&age.ttl_s(ttl).to_be_bytes());
            }
        }
        // A client that asked for neither DNSSEC records nor AD could not tell what AD is about.
        let heeds = query.edns.is_some_and(|edns| edns.dnssec) || query.flags & 0x0020 != 0;
        let flags = if heeds { self.flags } else { self.flags & !0x0020 };
        writer.finish_with(query, flags, self.rcode);
        self.rcode
    }

    /// The response code, extended.
    pub fn rcode(&self) -> u16 {
        self.rcode
    }

    /// Whether the other server left something out.
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// The lowest time to live of any record, in seconds; `None` if there is no record.
    pub fn lowest_ttl_s(&self) -> Option<u32> {
        (!self.ttls.is_empty()).then_some(self.lowest_ttl_s)
    }

    /// Whether it says who is sure that there is no data.
    pub fn has_soa(&self) -> bool {
        self.has_soa
    }

    /// Whether it says that there is nothing to be had under the name, or not of that type.
    pub fn is_nodata(&self) -> bool {
        self.rcode == 0 && self.counts[0] == 0
    }

    /// Whether it has a record of the type asked for.
    pub fn has_data(&self) -> bool {
        self.has_kind
    }
}

impl Age {
    fn ttl_s(self, ttl_s: u32) -> u32 {
        match self {
            Self::New(low, high) => ttl_s.clamp(low, high),
            Self::Kept(age_s, ttl_max_s) => ttl_s.min(ttl_max_s).saturating_sub(age_s).max(1),
            Self::Stale(ttl_s) => ttl_s,
        }
    }
}
