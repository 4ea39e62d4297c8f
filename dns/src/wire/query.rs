//! Queries as they come from the network.

use super::{HEADER, Rcode, kind};
use crate::name::Name;

/// Queries carry at most one record here; more is taken for an attack or a mistake.
const ANSWERS_MAX: u16 = 1;
const AUTHORITIES_MAX: u16 = 1;
/// OPT, and a signature beside it.
const ADDITIONALS_MAX: u16 = 2;

/// A query with exactly one question.
#[derive(Debug)]
pub struct Query<'p> {
    /// The identifier to echo.
    pub id: u16,
    /// The second 16 bits of the header.
    pub flags: u16,
    /// The name asked for.
    pub name: Name<'p>,
    /// The type asked for.
    pub kind: u16,
    /// The class asked for.
    pub class: u16,
    /// The question's octets.
    pub question: &'p [u8],
    /// What the OPT record says, if there is one.
    pub edns: Option<Edns<'p>>,
}

/// What a client says about itself (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'p> {
    /// The largest answer over UDP that it takes.
    pub payload: u16,
    /// The version of EDNS.
    pub version: u8,
    /// It wants DNSSEC records.
    pub dnssec: bool,
    /// Flags beside that one that have no meaning yet, of the first octet.
    pub unknown_flags: u8,
    /// Its options, checked for their lengths.
    pub options: &'p [u8],
}

/// Why there is nothing to look up.
#[derive(Debug)]
pub enum Unfit<'p> {
    /// Not answered at all: it is no query, and an answer could start a loop.
    Silence,
    /// Answered with a header alone.
    Header(Rcode),
    /// Answered with the question.
    Question(Box<Query<'p>>, Rcode),
}

impl<'p> Query<'p> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is no query that can be looked up.
    pub fn read(message: &'p [u8]) -> Result<Self, Unfit<'p>> {
        let Some(header) = message.first_chunk::<HEADER>() else { return Err(Unfit::Silence) };
        let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
        let (id, flags) = (word(0), word(1));
        if flags & 0x8000 != 0 {
            return Err(Unfit::Silence);
        }
        if flags & 0x7800 != 0 {
            return Err(Unfit::Header(Rcode::NotImp));
        }
        let (answers, authorities, additionals) = (word(3), word(4), word(5));
        let crowded = answers > ANSWERS_MAX || authorities > AUTHORITIES_MAX || additionals > ADDITIONALS_MAX;
        if word(2) != 1 || crowded {
            return Err(Unfit::Header(Rcode::FormErr));
        }
        let name = Name::read(&message[HEADER..]).map_err(|_| Unfit::Header(Rcode::FormErr))?;
        let end = HEADER + name.wire().len();
        let Some([k0, k1, c0, c1]) = message.get(end..).and_then(<[u8]>::first_chunk) else {
            return Err(Unfit::Header(Rcode::FormErr));
        };
        let mut query = Self {
            id,
            flags,
            name,
            kind: u16::from_be_bytes([*k0, *k1]),
            class: u16::from_be_bytes([*c0, *c1]),
            question: &message[HEADER..end + 4],
            edns: None,
        };
        let records = usize::from(answers + authorities + additionals);
        let opt = find_opt(message, end + 4, records, usize::from(answers + authorities));
        match opt.map_err(|_| Unfit::Header(Rcode::FormErr))? {
            Some(Ok(edns)) => query.edns = Some(edns),
            Some(Err(_)) => return Err(Unfit::Question(Box::new(query), Rcode::FormErr)),
            None => {}
        }
        Ok(query)
    }
}

impl Query<'_> {
    /// A query like this one, for another name and type.
    pub fn as_question(&self, name: &[u8], kind: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + name.len() + 32);
        message.extend_from_slice(&self.id.to_be_bytes());
        message.extend_from_slice(&self.flags.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        message.extend_from_slice(name);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            message.push(0);
            message.extend_from_slice(&kind::OPT.to_be_bytes());
            message.extend_from_slice(&edns.payload.to_be_bytes());
            message.extend_from_slice(&[0, edns.version, if edns.dnssec { 0x80 } else { 0 }, 0]);
            message.extend_from_slice(&u16::try_from(edns.options.len()).unwrap_or_default().to_be_bytes());
            message.extend_from_slice(edns.options);
        }
        message
    }
}

/// A record that does not end within the message.
pub(crate) struct Cut;

/// The first OPT among the additional records, which begin after `before` others.
fn find_opt(
    message: &[u8],
    mut at: usize,
    records: usize,
    before: usize,
) -> Result<Option<Result<Edns<'_>, Cut>>, Cut> {
    let mut found = None;
    for index in 0..records {
        // Counts that promise more than there is are tolerated, records that are cut are not.
        if at == message.len() {
            break;
        }
        at = skip_name(message, at)?;
        let Some([k0, k1, c0, c1, _, version, z0, _, l0, l1]) =
            message.get(at..).and_then(<[u8]>::first_chunk)
        else {
            return Err(Cut);
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let data = message.get(at + 10..at + 10 + length).ok_or(Cut)?;
        at += 10 + length;
        if index >= before && found.is_none() && u16::from_be_bytes([*k0, *k1]) == kind::OPT {
            let payload = u16::from_be_bytes([*c0, *c1]);
            let (dnssec, unknown_flags) = (z0 & 0x80 != 0, z0 & 0x7f);
            let edns = Edns { payload, version: *version, dnssec, unknown_flags, options: data };
            found = Some(if options(data).all(|option| option.is_ok()) { Ok(edns) } else { Err(Cut) });
        }
    }
    Ok(found)
}

pub(crate) fn skip_name(message: &[u8], mut at: usize) -> Result<usize, Cut> {
    loop {
        match *message.get(at).ok_or(Cut)? {
            0 => return Ok(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. if at + 2 <= message.len() => return Ok(at + 2),
            _ => return Err(Cut),
        }
    }
}

impl<'p> Edns<'p> {
    /// The options as code and the whole option's octets.
    pub fn options(&self) -> impl Iterator<Item = (u16, &'p [u8])> + use<'p> {
        options(self.options).filter_map(Result::ok)
    }
}

fn options(mut data: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Cut>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let length = data.get(2..4).map(|octets| 4 + usize::from(u16::from_be_bytes([octets[0], octets[1]])));
        match length.and_then(|length| data.split_at_checked(length)) {
            Some((option, rest)) => {
                data = rest;
                Some(Ok((u16::from_be_bytes([option[0], option[1]]), option)))
            }
            None => {
                data = &[];
                Some(Err(Cut))
            }
        }
    })
}
