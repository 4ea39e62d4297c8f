//! Answers written straight into a buffer that is used again and again.

use super::query::{Edns, Query};
use super::{HEADER, QUESTION_NAME, Rcode, UDP_PAYLOAD, kind};
use crate::compat;

const OPT_HEADER: usize = 11;
/// Without EDNS (RFC 1035 section 4.2.1).
const PLAIN_MAX: usize = 512;
const MESSAGE_MAX: usize = 65_535;

/// Options that are echoed as they came: NSID, EXPIRE, TCP keepalive. A client's cookie without
/// one of ours, and padding over a transport that is not encrypted, would be wrong.
const ECHOED: [u16; 3] = [3, 9, 11];
/// The cookie and the padding, which CoreDNS echoes as well.
const ECHOED_BY_COREDNS: [u16; 2] = [10, 12];

/// How a query came, as far as answers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// One datagram; answers are limited by what the client takes.
    Udp,
    /// A stream; answers are limited by their length field.
    Tcp,
}

/// The form that a block gives its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The largest answer over UDP, whatever the client takes.
    pub cap: u16,
    /// Answers hold nothing but what was asked for.
    pub minimal: bool,
    /// Which parts are CoreDNS's where ours differ.
    pub compat: compat::Messages,
}

impl Form {
    /// Nothing is held back from the client.
    pub const FULL: Self =
        Self { cap: u16::MAX, minimal: false, compat: compat::Messages { edns: false, truncation: false } };
}

/// A section that records are added to; sections are written in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who says so.
    Authority,
    /// What will be asked next.
    Additional,
}

/// An answer under construction.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    limit: usize,
    counts: [u16; 3],
    truncated: bool,
    edns: bool,
    minimal: bool,
    compat: compat::Messages,
}

impl<'b> Writer<'b> {
    /// Begins the answer: header and question.
    pub fn begin(out: &'b mut Vec<u8>, query: &Query<'_>, transport: Transport, form: Form) -> Self {
        out.clear();
        out.extend_from_slice(&query.id.to_be_bytes());
        out.extend_from_slice(&[0; HEADER - 2]);
        out.extend_from_slice(query.question);
        let size = match (transport, &query.edns) {
            (Transport::Tcp, _) => MESSAGE_MAX,
            (Transport::Udp, None) => PLAIN_MAX,
            (Transport::Udp, Some(edns)) => usize::from(edns.payload.min(form.cap)).max(PLAIN_MAX),
        };
        let reserved = query.edns.as_ref().map_or(0, |edns| opt_length(edns, form.compat.edns));
        Self {
            limit: size - reserved,
            out,
            counts: [0; 3],
            truncated: false,
            edns: query.edns.is_some(),
            minimal: form.minimal,
            compat: form.compat,
        }
    }

    /// Forgets all records again.
    pub fn rewind(&mut self, query: &Query<'_>) {
        self.out.truncate(HEADER + query.question.len());
        self.counts = [0; 3];
        self.truncated = false;
    }

    /// Where the next octet goes.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Whether no record has been added to a section.
    pub fn is_empty(&self, section: Section) -> bool {
        self.counts[section as usize] == 0
    }

    /// Adds a record whose octets are complete, but for its owner, which replaces the first two.
    /// Returns whether it fit.
    pub fn add_made(&mut self, section: Section, owner: u16, record: &[u8]) -> bool {
        let start = self.out.len();
        self.out.extend_from_slice(record);
        if owner != QUESTION_NAME {
            self.out[start..start + 2].copy_from_slice(&owner.to_be_bytes());
        }
        self.keep(section, start)
    }

    /// Adds a record as it is, its owner spelled out.
    pub fn add_raw(&mut self, section: Section, record: &[u8]) -> bool {
        let start = self.out.len();
        self.out.extend_from_slice(record);
        self.keep(section, start)
    }

    /// Adds a record; `owner` and `data` append their octets. Returns whether it fit.
    pub fn add(
        &mut self,
        section: Section,
        owner: impl FnOnce(&mut Vec<u8>),
        kind: u16,
        ttl: u32,
        data: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let start = self.out.len();
        owner(self.out);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&kind::IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        data(self.out);
        let length = u16::try_from(self.out.len() - length_at - 2).unwrap_or(u16::MAX);
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.keep(section, start)
    }

    /// Adds all records of another message with the same question, as they stand in it. Returns
    /// where they begin, or nothing if they do not fit.
    /// The first section alone ends after `first` octets.
    pub fn add_body(&mut self, records: &[u8], counts: [u16; 3], first: usize) -> Option<usize> {
        let start = self.out.len();
        let alone = self.minimal && counts[0] > 0;
        let (records, counts) =
            if alone { (&records[..first], [counts[0], 0, 0]) } else { (records, counts) };
        if start + records.len() > self.limit {
            self.truncated = true;
            return None;
        }
        self.out.extend_from_slice(records);
        self.counts = counts;
        Some(start)
    }

    /// The octets written so far.
    pub fn octets(&mut self) -> &mut [u8] {
        self.out
    }

    /// Marks the answer as cut, as an upstream's was.
    pub fn truncate(&mut self) {
        self.truncated = true;
    }

    fn keep(&mut self, section: Section, start: usize) -> bool {
        if self.minimal && section != Section::Answer && self.counts[0] > 0 {
            self.out.truncate(start);
            return false;
        }
        // Once a record is left out, smaller ones after it must not slip in.
        let fits = self.out.len() <= self.limit && !(self.truncated && section == Section::Answer);
        if fits {
            self.counts[section as usize] += 1;
        } else {
            self.out.truncate(start);
            // Lost additional data is no loss of the answer (RFC 2181 section 9).
            self.truncated |= section != Section::Additional || self.compat.truncation;
        }
        fits
    }

    /// Ends the answer. RD and CD are the query's; nothing else of its flags comes back.
    pub fn finish(self, query: &Query<'_>, rcode: Rcode, authoritative: bool) {
        let authoritative = if authoritative { 0x0400 } else { 0 };
        self.finish_with(query, authoritative | query.flags & 0x0010, rcode.code());
    }

    /// Ends an answer from elsewhere, whose flags AA, RA, AD and CD are passed on.
    pub fn finish_with(self, query: &Query<'_>, flags: u16, rcode: u16) {
        if let Some(edns) = &query.edns {
            opt(self.out, edns, rcode, self.compat.edns);
        }
        let truncated = if self.truncated { 0x0200 } else { 0 };
        let flags = 0x8000 | flags & 0x04b0 | truncated | query.flags & 0x0100 | rcode & 0x000f;
        let additional = self.counts[2] + u16::from(self.edns);
        let words = [flags, 1, self.counts[0], self.counts[1], additional];
        for (place, word) in self.out[2..HEADER].chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Writes an answer that is a header alone.
pub fn header_only(out: &mut Vec<u8>, message: &[u8], rcode: Rcode) {
    let flags = u16::from_be_bytes([message[2], message[3]]);
    let flags = 0x8000 | flags & 0x7910 | rcode.code();
    out.clear();
    out.extend_from_slice(&message[..2]);
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0; HEADER - 4]);
}

fn echoed<'p>(edns: &Edns<'p>, as_coredns: bool) -> impl Iterator<Item = &'p [u8]> + use<'p> {
    let fit = edns.version == 0 && edns.options.len() <= 64;
    let wanted = move |code| ECHOED.contains(&code) || (as_coredns && ECHOED_BY_COREDNS.contains(&code));
    edns.options().filter(move |(code, _)| fit && wanted(*code)).map(|(_, option)| option)
}

fn opt_length(edns: &Edns<'_>, as_coredns: bool) -> usize {
    OPT_HEADER + echoed(edns, as_coredns).map(<[u8]>::len).sum::<usize>()
}

fn opt(out: &mut Vec<u8>, edns: &Edns<'_>, rcode: u16, as_coredns: bool) {
    let high = (rcode >> 4).to_be_bytes()[1];
    let dnssec = if edns.dnssec { 0x80 } else { 0 };
    let (size, unknown) = if as_coredns { (edns.payload, edns.unknown_flags) } else { (UDP_PAYLOAD, 0) };
    let length = u16::try_from(opt_length(edns, as_coredns) - OPT_HEADER).unwrap_or_default();
    out.push(0);
    out.extend_from_slice(&kind::OPT.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[high, 0, dnssec | unknown, 0]);
    out.extend_from_slice(&length.to_be_bytes());
    echoed(edns, as_coredns).for_each(|option| out.extend_from_slice(option));
}
